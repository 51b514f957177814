"""The frames of one call: where they lie on the device, uploaded if they come from the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.surfaces import rows
from edgepose.cuda.device import Device, Stream
from edgepose.nv12 import NV12

_ALIGNMENT = 256  # of a plane's beginning, bytes
_PITCH = 16  # of its rows: a multiple of 4 reads words
_SOURCES = {None: 0, "bt601": 1, "bt709": 2}


def source_of(image: Any) -> int:
    """The kernel's number for a kind of frames: BGR, or NV12 of one of two standards."""
    return _SOURCES[image.standard] if isinstance(image, NV12) else 0


class FrameStore:
    """Memory for the frames of one slot, pinned and on the device; it grows with the largest call.

    Frames of the host are copied into the pinned memory first: they are their readers', who keep
    them for as long as they like, and this is used again two calls later.

    ``mapped``: kernels read the pinned memory itself. That saves the copy where host and device
    share their memory, but is uncached on some: to be measured.
    """

    def __init__(self, device: Device, mapped: bool) -> None:
        self._device, self._mapped, self._capacity = device, mapped, 0
        self._host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._memory = DeviceArray(0, (0,))
        self._kept: Sequence[Any] = ()

    def put(self, images: Sequence[Any], stream: Stream) -> NDArray[Any]:
        """Bring images of one kind to the device: their table (n,) of ROW.

        The store is idle. Images of the host are copied before this returns, those on the device
        are kept until the next call.
        """
        planes = [plane for image in images for plane in _host_planes(image)]
        offsets, size = [], 0
        for plane in planes:
            offsets.append(size)
            size += -(-_pitch(plane) * plane.shape[0] // _ALIGNMENT) * _ALIGNMENT
        if size > self._capacity:
            self._grow(size)
        base = self._host.ctypes.data if self._mapped else self._memory.pointer
        places = []
        for plane, offset in zip(planes, offsets, strict=True):
            pitch, height = _pitch(plane), plane.shape[0]
            padded = self._host[offset:][: height * pitch].reshape(height, pitch)
            room = padded[:, : plane[0].size].reshape(plane.shape)  # a view
            np.copyto(room, plane)
            places.append(DeviceArray(base + offset, plane.shape, np.uint8, room.strides))
        if size and not self._mapped:
            self._device.copy(self._memory.pointer, self._host.ctypes.data, size, stream)
        self._kept = tuple(images)
        found = iter(places)
        table, _ = rows([_on_device(image, found) for image in images])
        return table

    def _grow(self, size: int) -> None:
        self._host = self._device.pinned((size,), np.uint8, mapped=self._mapped)
        if not self._mapped:
            self._memory = self._device.empty((size,), np.uint8)
        self._capacity = size


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


def _pitch(plane: NDArray[np.uint8]) -> int:
    width: int = plane[0].size
    return -(-width // _PITCH) * _PITCH
