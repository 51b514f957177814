"""The CUDA kernels' source on the host, in the place of ``edgepose._cuda``.

``tests/sanitized.py`` runs the same with sanitizers.
"""

from __future__ import annotations

from types import ModuleType

import gpu_cases
import numpy as np

from edgepose.crop import cuda


class HostMemory:
    def __init__(self, bytes: int, device: int, stream: int, owner: object = None) -> None:
        self.bytes = np.full(bytes, 255, np.uint8)  # NaN, so that a hole shows
        self.pointer = self.bytes.ctypes.data
        self.owner = owner


class HostCuda:
    """What ``edgepose._cuda`` offers, on host pointers: the kernels of ``edgepose._host``."""

    Memory = HostMemory

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self.waited: list[tuple[int, int, int]] = []
        self.launches = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._kernels, name)

    def device_count(self) -> int:
        return 1

    def device_of(self, pointer: int) -> int:
        return 0

    def capturing(self, device: int, stream: int) -> bool:
        return False

    def wait(self, device: int, stream: int, producer: int) -> None:
        self.waited.append((device, stream, producer))

    def crop(self, *arguments: object) -> None:
        self.launches += 1
        self._kernels.crop(*arguments)


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
