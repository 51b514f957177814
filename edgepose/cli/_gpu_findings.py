"""What ``edgepose-doctor`` finds of a GPU: its driver, toolkit, kernels, TensorRT, engines."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgepose.bundle import Bundle
from edgepose.cli._finding import OK, OPTIONAL, Finding, jetpack, package, read
from edgepose.crop import native
from edgepose.cuda.driver import Driver
from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.flavour import Flavour, open_flavour
from edgepose.engine.recipe import EngineRecipe
from edgepose.engine.request import Request, choose_targets
from edgepose.errors import EdgeposeError, EngineError

_NVCC = Path("/usr/local/cuda/bin/nvcc")
_DRIVER = Path("/proc/driver/nvidia/version")


def gpu(found: Driver) -> Finding:
    """GPUs that the driver sees."""
    if found.gpus:
        text = "; ".join(f"{g.name}, {g.target}, {g.memory / 2**30:.1f} GiB" for g in found.gpus)
        return Finding("GPU", text)
    return Finding(
        "GPU",
        found.problem,
        OPTIONAL,
        "without one edgepose runs on the CPU; with an NVIDIA GPU see docs/jetson.md",
    )


def driver(found: Driver) -> Finding:
    """NVIDIA's driver."""
    line = read(_DRIVER).splitlines()
    version = re.search(r"\b(\d+\.\d+(\.\d+)?)\b", line[0]) if line else None
    if not found.cuda:
        step = "install NVIDIA's driver if there is an NVIDIA GPU"
        return Finding("NVIDIA driver", "none", OPTIONAL, step)
    text = f"{version[1]}, " if version else ""
    return Finding("NVIDIA driver", f"{text}runs up to CUDA {found.cuda}")


def toolkit(found: Driver) -> Finding:
    """The CUDA compiler: only pycuda's installation needs it."""
    path = shutil.which("nvcc")
    if path is not None:
        return Finding("CUDA toolkit", path)
    if _NVCC.exists():
        step = f"for installing pycuda: export PATH={_NVCC.parent}:$PATH"
        return Finding("CUDA toolkit", f"{_NVCC}, not on the PATH", OPTIONAL, step)
    step = "needed only with a GPU"
    if found.gpus:
        step = "for installing pycuda: install the CUDA toolkit, see docs/jetson.md"
    return Finding("CUDA toolkit", "not installed", OPTIONAL, step)


def kernels(found: Driver) -> Finding:
    """The CUDA kernels: whether this driver and these GPUs can run what was built."""
    if native._cuda is None:
        step = "needed only with a GPU"
        if found.gpus:
            step = "install the CUDA toolkit, then: EDGEPOSE_CUDA=1 pip install --force-reinstall ."
        return Finding("CUDA kernels", "not built", OPTIONAL, step)
    runtime, known = native._cuda.versions()
    built = [int(arch) for arch in native._cuda.ARCHITECTURES.split()]
    text = f"CUDA {runtime // 1000}.{runtime % 1000 // 10}, for {native._cuda.ARCHITECTURES}"
    # Code runs on later GPUs of its generation, and the last one's comes as PTX too.
    gpus = [10 * gpu.capability[0] + gpu.capability[1] for gpu in found.gpus]
    lost = [
        gpu
        for gpu in gpus
        if gpu < built[-1] and not any(a // 10 == gpu // 10 and a <= gpu for a in built)
    ]
    again = "pip install --force-reinstall ."
    if known and known // 1000 < runtime // 1000:
        step = f"update the driver, or build with the CUDA toolkit {found.cuda}: {again}"
        return Finding("CUDA kernels", f"{text}; the driver is too old", OPTIONAL, step)
    if lost:
        step = f"EDGEPOSE_CUDA_ARCHS={','.join(map(str, gpus))} {again}"
        return Finding("CUDA kernels", f"{text}, not for {lost[0]}", OPTIONAL, step)
    return Finding("CUDA kernels", text)


def flavour(name: str) -> Flavour | EngineError:
    """One TensorRT, or why it cannot be used."""
    try:
        return open_flavour(name)
    except EngineError as error:
        return error


def tensorrt(name: str, flavour: Flavour | EngineError | None) -> Finding:
    """What became of one TensorRT."""
    if isinstance(flavour, Flavour):
        extra = f", builds for {' '.join(flavour.targets)}" if flavour.rtx else ""
        return Finding(name, f"{flavour.version}{extra}")
    if isinstance(flavour, EngineError):
        return Finding(name, str(flavour), OPTIONAL, f"pip install --force-reinstall {name}")
    step = f"for engines: pip install {name}"
    if name == "tensorrt" and jetpack():
        step = "for engines: sudo apt install python3-libnvinfer"
    return Finding(name, "not installed", OPTIONAL, step)


def pycuda(found: Driver) -> Finding:
    """What runs engines where the kernels were not built."""
    step = 'to run engines: pip install "edgepose[tensorrt]", which needs the CUDA toolkit'
    if not found.gpus:
        step = "needed only with a GPU"
    return package("pycuda", step)


def engines(
    folder: Path | None, found: Driver, flavours: dict[str, Flavour | EngineError]
) -> Finding:
    """Whether the bundle's engines are built for this GPU."""
    cache = Cache(default_folder())
    count = len(cache.manifests())
    text = f"{count} in {cache.folder}"
    usable = [f for f in flavours.values() if isinstance(f, Flavour)]
    if not found.gpus or not usable:
        return Finding("engines", text, OK if count else OPTIONAL)
    try:
        bundle = Bundle(folder)
        fits = 0
        for flavour in usable:
            targets, cuda = choose_targets(flavour, "host", found)
            request = Request(bundle, flavour, targets, cuda, EngineRecipe())
            wanted = [request.identity(n) for n in bundle.networks()]
            kept = [cache.find(bundle.name, identity)[0] for identity in wanted]
            fits += all(m is not None and cache.whole(m) for m in kept)
    except EdgeposeError as error:
        return Finding("engines", text, OPTIONAL, str(error))
    if fits:
        return Finding("engines", f"{text}, those of {bundle.name} for this GPU among them")
    return Finding("engines", f"{text}, none for this GPU", OPTIONAL, "edgepose-build --verify")
