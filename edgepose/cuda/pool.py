"""Pinned memory that sources read their pictures into: what a copy to the device can begin from.

A picture belongs to whoever holds it, for as long as they like; so a buffer is used again only when
the last view of it has gone.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from edgepose.cuda.device import Device
from edgepose.errors import DeviceError
from edgepose.types import Image

_LIMIT = 256 << 20  # bytes: forty pictures of 1920 x 1080, BGR
_log = logging.getLogger(__name__)


class PinnedPool:
    """Buffers of one device for pictures, lent until nobody holds them. Any thread may take one.

    ``limit``: bytes of pinned memory at most; beyond it, sources are left to memory of their own,
    from which pictures are copied once more on their way to the device.
    """

    def __init__(self, device: Device, limit: int = _LIMIT, *, mapped: bool = False) -> None:
        """``mapped``: kernels may read the pictures where they are."""
        self._device, self._limit, self._mapped = device, limit, mapped
        self._lock = threading.Lock()
        self._size = 0  # of everything that there is, lent or not
        self._free: dict[int, deque[Image]] = {}  # by size

    def take(self, shape: Sequence[int]) -> Image | None:
        """Memory (*shape) uint8, C-contiguous, which is the caller's until its last view goes.

        None where that would be more than the limit, or the system has no more to pin.
        """
        size = math.prod(shape)
        with self._lock:
            free = self._free.setdefault(size, deque())
            memory = free.pop() if free else self._new(size)
        return None if memory is None else np.asarray(_Loan(memory, self._device, free, shape))

    def close(self) -> None:
        """Lend no more; what is lent stays until it goes. May be called again."""
        with self._lock:
            self._limit = 0
            self._free.clear()

    def _new(self, size: int) -> Image | None:
        for other, free in self._free.items():  # of pictures whose size is out of use
            while free and self._size + size > self._limit:
                free.pop()
                self._size -= other
        if self._size + size > self._limit:
            return None
        try:
            memory = self._device.pinned((size,), np.uint8, self._mapped)
        except DeviceError as error:
            self._limit = self._size
            _log.warning("pictures are copied on their way to the device: %s", error)
            return None
        self._size += size
        return memory


class _Loan:
    """What every view of a lent buffer keeps: NumPy's views all have it as their base."""

    def __init__(
        self, memory: Image, device: Device, free: deque[Image], shape: Sequence[int]
    ) -> None:
        self._memory, self._free, self.device = memory, free, device
        self.__array_interface__ = {**memory.__array_interface__, "shape": tuple(shape)}

    def __del__(self) -> None:
        # No lock: it may run in any thread, at any place, one that holds the lock included.
        self._free.append(self._memory)


def lent_by(device: Device, array: Image) -> bool:
    """Whether an array lies in pinned memory that a pool of this device has lent."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, _Loan) and base.device is device
