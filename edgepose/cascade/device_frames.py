"""The frames of one call: where they lie on the device, uploaded if they come from the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.surfaces import rows
from edgepose.cuda.device import Device, Stream
from edgepose.cuda.pool import lent_by
from edgepose.nv12 import NV12

_ALIGNMENT = 256  # of a plane's beginning, bytes
_PITCH = 16  # of its rows: a multiple of 4 reads words
_SOURCES = {None: 0, "bt601": 1, "bt709": 2}


def source_of(image: Any) -> int:
    """The kernel's number for a kind of frames: BGR, or NV12 of one of two standards."""
    return _SOURCES[image.standard] if isinstance(image, NV12) else 0


class FrameStore:
    """Memory for the frames of one slot on the device; it grows with the largest call.

    Frames that lie in a pool's pinned memory (:class:`~edgepose.cuda.pool.PinnedPool`) go up from
    where they are. Others are their readers', wherever those got them, and are copied into pinned
    memory of the store first.

    ``mapped``: kernels read the pinned memory itself. That saves the copy where host and device
    share their memory, but is uncached on some: to be measured.
    """

    def __init__(self, device: Device, mapped: bool) -> None:
        self._device, self._mapped, self._capacity = device, mapped, 0
        self._staging: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._memory = DeviceArray(0, (0,))
        self._kept: Sequence[Any] = ()

    def put(self, images: Sequence[Any], stream: Stream) -> NDArray[Any]:
        """Bring images of one kind to the device: their table (n,) of ROW.

        The store is idle. Images that are not copied before this returns are kept until the next
        call.
        """
        planes = [plane for image in images for plane in _host_planes(image)]
        offsets, size = [], 0
        for plane in planes:
            offsets.append(size)
            size += -(-self._pitch(plane) * plane.shape[0] // _ALIGNMENT) * _ALIGNMENT
        self._capacity = max(self._capacity, size)
        pairs = zip(planes, offsets, strict=True)
        places = iter([self._place(plane, offset, stream) for plane, offset in pairs])
        self._kept = tuple(images)
        table, _ = rows([_on_device(image, places) for image in images])
        return table

    def _place(self, plane: NDArray[np.uint8], offset: int, stream: Stream) -> DeviceArray:
        """Where a kernel finds a plane of the host, once the stream is there."""
        pinned, pitch = plane, self._pitch(plane)
        if not self._lent(plane):
            if self._staging.size < self._capacity:
                shape = (self._capacity,)
                self._staging = self._device.pinned(shape, np.uint8, mapped=self._mapped)
            padded = self._staging[offset:][: pitch * len(plane)].reshape(-1, pitch)
            pinned = padded[:, : plane[0].size].reshape(plane.shape)  # a view
            np.copyto(pinned, plane)
        address = pinned.ctypes.data
        if not self._mapped:
            if self._memory.shape[0] < self._capacity:
                self._memory = self._device.empty((self._capacity,), np.uint8)
            self._device.copy(self._memory.pointer + offset, address, pitch * len(plane), stream)
            address = self._memory.pointer + offset
        return DeviceArray(address, plane.shape, np.uint8, pinned.strides)

    def _lent(self, plane: NDArray[np.uint8]) -> bool:
        return bool(plane.flags.c_contiguous) and lent_by(self._device, plane)

    def _pitch(self, plane: NDArray[np.uint8]) -> int:
        """Bytes from row to row on the device; what is copied on the way gets whole words."""
        width: int = plane[0].size
        return width if self._lent(plane) else -(-width // _PITCH) * _PITCH


def _host_planes(image: Any) -> list[NDArray[np.uint8]]:
    """What has to go up: a BGR picture, two planes of NV12, or nothing."""
    parts = (image.y, image.uv) if isinstance(image, NV12) else (image,)
    planes = [p for p in parts if isinstance(p, np.ndarray)]
    for plane in planes:
        if plane.dtype != np.uint8 or plane.ndim not in (2, 3) or plane.size == 0:
            raise ValueError(
                f"a frame must be (H, W, 3) uint8 BGR, or NV12, not {plane.shape} {plane.dtype}"
            )
    return planes


def _on_device(image: Any, places: Any) -> Any:
    """The image with its host planes replaced by what ``places`` gives next."""
    if isinstance(image, NV12):
        planes = [next(places) if isinstance(p, np.ndarray) else p for p in (image.y, image.uv)]
        return NV12(planes[0], planes[1], image.standard)
    return next(places) if isinstance(image, np.ndarray) else image
