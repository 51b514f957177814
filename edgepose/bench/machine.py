"""What a machine is, in the words that a reader of figures wants."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

from edgepose.crop import info
from edgepose.cuda.driver import driver

_BOARD = Path("/proc/device-tree/model")


def machine() -> dict[str, str]:
    """Processor, cores, memory, GPU, kernel, Python and the packages that compute."""
    gpu = driver()
    found = {
        "processor": processor(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "crop kernel": info().path,
        "GPU": "; ".join(one.name for one in gpu.gpus) or gpu.problem,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "load at the start": " ".join(f"{value:.1f}" for value in os.getloadavg()),
    }
    for package in ("numpy", "opencv-python", "onnxruntime", "openvino", "tensorrt", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def processor() -> str:
    """The board's name, else the processor's, else its architecture."""
    with contextlib.suppress(OSError):
        return _BOARD.read_text().strip("\0\n ")
    with contextlib.suppress(OSError):
        if name := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M):
            return name[1]
    return platform.processor() or platform.machine()
