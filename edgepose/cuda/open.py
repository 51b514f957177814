"""The GPU of this machine, by whichever provider is installed."""

from __future__ import annotations

import importlib.util

from edgepose.crop.native import has_cuda
from edgepose.cuda.device import Device
from edgepose.errors import DeviceError


def open_device() -> Device:
    """The first GPU: by edgepose._cuda, which can do all of it, or else by pycuda.

    Raises DeviceError if neither is installed, or there is no GPU.
    """
    if has_cuda():
        from edgepose.cuda.native import NativeDevice

        return NativeDevice()
    if importlib.util.find_spec("pycuda") is None:
        raise DeviceError(
            "the GPU needs edgepose._cuda or pycuda; reinstall edgepose where the CUDA toolkit is "
            'installed (EDGEPOSE_CUDA=1 says what is missing), or: pip install "edgepose[tensorrt]"'
        )
    from edgepose.cuda.pycuda import PyCudaDevice

    return PyCudaDevice()
