"""The device that the steps run on, and arrays up and down.

That is the GPU; with ``EDGEPOSE_DRY=1`` the device that is none, small, where there is no GPU: it
shows that the steps themselves work, and its times mean nothing.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgepose.crop import native
from edgepose.crop.arrays import DeviceArray
from edgepose.cuda.device import Device
from edgepose.cuda.driver import driver
from edgepose.cuda.host import HostDevice
from edgepose.cuda.native import NativeDevice

byte_bounds = getattr(np.lib, "array_utils", np).byte_bounds  # moved in NumPy 2
DRY = os.environ.get("EDGEPOSE_DRY") == "1"


class NoGpuError(Exception):
    """There is no driver or no device; the message is for people."""


def require_gpu() -> None:
    """NoGpuError unless the driver sees a GPU; needs nothing that is built."""
    found = driver()
    if not found.gpus and not DRY:
        raise NoGpuError(f"{found.problem}.")


def open_bench_device() -> Device:
    """The device; NoGpuError if there is none. In a dry run the kernels are the host's, too."""
    require_gpu()
    if not DRY:
        return NativeDevice()
    from gpu_dry import HostCuda

    from edgepose import _host

    native._cuda = HostCuda(_host)  # type: ignore[assignment]
    return HostDevice()


class Mover:
    """Arrays up and down, in the order of ``stream``, which the kernels between them are given."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, device.stream()

    def upload(self, array: np.ndarray) -> DeviceArray:
        """Copy an array, its row pitch and alignment included, to memory of just that size."""
        low, high = byte_bounds(array)
        begin = low - low % 4  # keep the alignment; rows of a frame have any
        offset, size = array.ctypes.data - begin, high - begin
        memory = self.device.empty((size,), np.uint8)
        if size and array.size:
            staging = self.device.pinned((size,), np.uint8)
            staging[:] = 0
            there = np.ndarray(array.shape, array.dtype, staging.data, offset, array.strides)
            there[...] = array
            self.device.copy(memory.pointer, staging.ctypes.data, size, self.stream)
            self.stream.synchronize()
        pointer = memory.pointer + offset
        return DeviceArray(pointer, array.shape, array.dtype, array.strides, memory)

    def download(self, array: Any) -> np.ndarray:
        """Copy a C-contiguous device array to the host, when the stream is done."""
        staging = self.device.pinned(array.shape, array.dtype)
        if staging.size:
            self.device.copy(staging.ctypes.data, array.pointer, staging.nbytes, self.stream)
        self.stream.synchronize()
        return np.array(staging)
