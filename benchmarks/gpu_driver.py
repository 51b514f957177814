"""Device memory with nothing but NVIDIA's driver, so that parity and sanitizers need no framework.

The context is the device's primary one, which the CUDA runtime uses too.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


class NoGpuError(Exception):
    """There is no driver or no device; the message is for people."""


class Driver:
    """The first GPU's memory."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise NoGpuError("There is no NVIDIA driver on this machine.") from None
        count = ctypes.c_int(0)
        failed = self._library.cuInit(0) or self._library.cuDeviceGetCount(ctypes.byref(count))
        if failed or count.value == 0:
            raise NoGpuError("The NVIDIA driver sees no GPU on this machine.")
        device, context = ctypes.c_int(0), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def upload(self, array: np.ndarray, device_array: type) -> Any:
        """Copy an array's memory, its row pitch and alignment included, to the device.

        Args:
            array: any; may be strided.
            device_array: ``edgepose.crop.cuda.DeviceArray``.
        """
        low, high = getattr(np.lib, "array_utils", np).byte_bounds(array)  # moved in NumPy 2
        begin = low - low % 4  # keep the alignment; rows of a frame have any
        memory = Memory(self, max(high - begin, 1))
        if high > begin:
            self._call("cuMemcpyHtoD_v2", memory.address, ctypes.c_void_p(begin), high - begin)
        pointer = memory.pointer + array.ctypes.data - begin
        return device_array(pointer, array.shape, array.dtype, array.strides, memory)

    def download(self, array: Any) -> np.ndarray:
        """Copy a C-contiguous device array to the host, when the device is done."""
        result = np.empty(array.shape, array.dtype)
        self._call("cuCtxSynchronize")
        source = ctypes.c_uint64(array.pointer)
        self._call("cuMemcpyDtoH_v2", ctypes.c_void_p(result.ctypes.data), source, result.nbytes)
        return result

    def _call(self, name: str, *arguments: Any) -> None:
        wrapped = [ctypes.c_size_t(a) if isinstance(a, int) else a for a in arguments]
        status = getattr(self._library, name)(*wrapped)
        if status != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(text))
            raise RuntimeError(f"{name} failed: {(text.value or b'?').decode()}")


class Memory:
    """An allocation of exactly the bytes asked for, as a sanitizer counts them."""

    def __init__(self, driver: Driver, size: int) -> None:
        self._driver = driver
        self.address = ctypes.c_uint64(0)
        driver._call("cuMemAlloc_v2", ctypes.byref(self.address), size)
        self.pointer = int(self.address.value)

    def __del__(self) -> None:
        self._driver._call("cuMemFree_v2", self.address)
