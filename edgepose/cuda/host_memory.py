"""Memory of the device that is none: aligned and as long as asked for, NaN before and after."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.cuda.device import size_of
from edgepose.errors import DeviceError

_ALIGNMENT = 256  # bytes, as cudaMalloc's
_POISON = 0xFF  # NaN in every float, 255 in a picture, -1 in an index

_libc = ctypes.CDLL(None)
_libc.posix_memalign.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t]


class HostMemory:
    """All allocations of one device, by address.

    ``keep``: freed memory stays, as NaN, so that a stale address in a table reads NaN. Without, it
    goes back to the system, where a sanitizer sees who still reads it.
    """

    def __init__(self, keep: bool) -> None:
        self.allocations = 0
        self._keep, self._lock = keep, threading.Lock()
        self._device: dict[int, int] = {}  # address to bytes
        self._pinned: dict[int, int] = {}
        self._freed: dict[int, int] = {}

    @property
    def in_use(self) -> int:
        """Bytes of device memory."""
        with self._lock:
            return sum(self._device.values())

    def allocate(self, size: int, *, pinned: bool) -> Allocation:
        """Memory full of NaN."""
        pointer = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(pointer), _ALIGNMENT, max(size, 1)):
            raise DeviceError(f"there is no room for {size} bytes")
        address = pointer.value or 0
        ctypes.memset(address, _POISON, size)
        with self._lock:
            self.allocations += 1
            self._freed.pop(address, None)
            (self._pinned if pinned else self._device)[address] = size
        allocation = Allocation(address)
        # At exit the system takes it: others may still wait for work on it then.
        weakref.finalize(allocation, self._free, address, size).atexit = False
        return allocation

    def _free(self, address: int, size: int) -> None:
        with self._lock:
            self._device.pop(address, None)
            self._pinned.pop(address, None)
            if self._keep:
                self._freed[address] = size
                ctypes.memset(address, _POISON, size)
            else:
                _libc.free(ctypes.c_void_p(address))

    def check(self, address: int, size: int) -> None:
        """DeviceError unless all of it is allocated."""
        with self._lock:
            for begin, length in (*self._device.items(), *self._pinned.items()):
                if begin <= address and address + size <= begin + length:
                    return
            freed = any(a <= address < a + max(n, 1) for a, n in self._freed.items())
        what = "were freed" if freed else "are not within one allocation"
        raise DeviceError(f"{size} bytes at {address:#x} {what}")

    def view(self, address: int, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """The array at an address; all of it is allocated."""
        size = size_of(shape, dtype)
        self.check(address, size)
        buffer: Any = (ctypes.c_uint8 * size).from_address(address)
        array: NDArray[Any] = np.frombuffer(buffer, dtype)
        return array.reshape(shape)


class Allocation:
    """An allocation; it goes with its last reference."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """The memory as an array that keeps it."""
        self.__array_interface__ = {
            "data": (self.pointer, False),
            "shape": (size_of(shape, dtype),),
            "typestr": "|u1",
            "version": 3,
        }
        return np.asarray(self).view(dtype).reshape(shape)
