"""Arrays of the host as if they lay on a device, for the kernels' source on the host.

``tests/sanitized.py`` runs the same with sanitizers.
"""

from __future__ import annotations

import gpu_cases
import numpy as np
from gpu_dry import HostCuda, HostMemory

from edgepose.crop import cuda

__all__ = ["HostCuda", "HostMemory", "download", "parity", "upload"]


def upload(array: np.ndarray) -> object:
    """The array as if it lay on a device."""
    return cuda.DeviceArray(array.ctypes.data, array.shape, array.dtype, array.strides, array)


def download(result: object) -> np.ndarray:
    memory = np.frombuffer(result.owner.bytes, result.dtype)
    return memory[: int(np.prod(result.shape))].reshape(result.shape)


def parity(count: int, seed: int = 0) -> list[float]:
    """Each case's error in tolerances, ``edgepose.crop.native._cuda`` being a ``HostCuda``."""
    return [
        gpu_cases.error(case, download(gpu_cases.run(case, upload)), gpu_cases.expected(case))
        for case in gpu_cases.cases(count, seed)
    ]
