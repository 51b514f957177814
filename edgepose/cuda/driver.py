"""The NVIDIA GPUs of this machine, asked of the driver itself.

Creating a TensorRT runtime where there is no GPU can end the process, so they are counted first:
through ctypes, with functions of libcuda that answer with an error code at worst.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_LIBRARY = "libcuda.so.1"


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, compute capability (major, minor) and memory in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def target(self) -> str:
        """The compute capability as builders are told it, e.g. ``sm86``."""
        return "sm{}{}".format(*self.capability)


@dataclass(frozen=True)
class Driver:
    """What the driver says.

    ``cuda``: the newest CUDA that it runs, e.g. "12.6", empty if there is no driver. ``problem``:
    why there is no GPU, empty if there is one.
    """

    cuda: str
    gpus: tuple[Gpu, ...]
    problem: str = ""


def driver() -> Driver:
    """Ask the driver for its GPUs; never raises and needs no CUDA toolkit."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return Driver("", (), f"no NVIDIA driver is installed ({_LIBRARY} is not found)")
    version = _number(library, "cuDriverGetVersion")
    cuda = f"{version // 1000}.{version % 1000 // 10}" if version else ""
    code = library.cuInit(0)
    if code:
        return Driver(cuda, (), f"the NVIDIA driver finds no GPU (CUDA error {code})")
    gpus = tuple(_gpu(library, i) for i in range(_number(library, "cuDeviceGetCount") or 0))
    return Driver(cuda, gpus, "" if gpus else "the NVIDIA driver finds no GPU")


def _gpu(library: Any, index: int) -> Gpu:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    major, minor = (
        _number(library, "cuDeviceGetAttribute", which, device) or 0 for which in (_MAJOR, _MINOR)
    )
    return Gpu(name.value.decode(errors="replace"), (major, minor), memory.value)


def _number(library: Any, function: str, *arguments: Any) -> int | None:
    """The int that ``function`` gives through its first argument; None if it fails."""
    value = ctypes.c_int()
    failed = getattr(library, function)(ctypes.byref(value), *arguments)
    return None if failed else value.value
