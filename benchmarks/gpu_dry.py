"""The CUDA kernels' source on the host, in the place of ``edgepose._cuda``: for dry runs and tests.

``tests/sanitized.py`` runs the same with sanitizers.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np


class HostMemory:
    """Memory that begins as NaN, so that a hole shows."""

    def __init__(self, bytes: int, device: int, stream: int, owner: object = None) -> None:
        self.bytes = np.full(bytes, 255, np.uint8)
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

    def launch_nothing(self, device: int, stream: int) -> None:
        self.launches += 1

    def crop(self, *arguments: object) -> None:
        self.launches += 1
        self._kernels.crop(*arguments)
