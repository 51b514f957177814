"""Frames in device memory: BGR arrays, a decoder's NV12 surfaces, and tables of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.arrays import DeviceArray, Importer, check_shape
from edgepose.crop.native import module
from edgepose.nv12 import NV12, Standard

_BGR = 0
_SOURCES: dict[Standard | None, int] = {None: _BGR, "bt601": 1, "bt709": 2}

ROW = np.dtype(
    [
        ("data", np.uint64),
        ("chroma", np.uint64),
        ("row_stride", np.int64),
        ("chroma_stride", np.int64),
        ("height", np.int32),
        ("width", np.int32),
    ]
)
"""A frame in the kernel's table: ``DeviceFrame`` of ``csrc/crop_cuda.h``. A row of zeros is a frame
with no pixels, whose crops are padding."""


def surface(
    pointer: int,
    height: int,
    width: int,
    pitch: int,
    *,
    uv_pointer: int | None = None,
    standard: Standard = "bt709",
    owner: object = None,
) -> NV12:
    """Describe a decoder's surface by its address.

    Args:
        pointer: device address of the plane Y.
        height: of the plane Y, in rows.
        width: of the plane Y, in pixels.
        pitch: bytes from a row to the next, in both planes.
        uv_pointer: device address of the plane UV; None: right below the plane Y.
        standard: the colour matrix, "bt601" or "bt709".
        owner: kept alive as long as the result is.
    """
    if uv_pointer is None:
        uv_pointer = pointer + height * pitch
    chroma = (height // 2, width // 2, 2)
    return NV12(
        DeviceArray(pointer, (height, width), strides=(pitch, 1), owner=owner),
        DeviceArray(uv_pointer, chroma, strides=(pitch, 2, 1), owner=owner),
        standard,
    )


class FrameTable(NamedTuple):
    """A table of frames that itself lies in device memory.

    It is read when the launch runs, so a captured launch replays with what it says by then.

    Attributes:
        rows: (n, 40) uint8 device array, C-contiguous, 8-byte aligned: what ``rows`` gives,
            uploaded.
        standard: None: the frames are BGR; else the colour matrix of NV12 surfaces.
    """

    rows: Any
    standard: Standard | None = None


def rows(frames: Any) -> tuple[NDArray[Any], Standard | None]:
    """Describe frames by the rows of a table, to be uploaded for a ``FrameTable``.

    Args:
        frames: as of ``edgepose.crop.cuda.crop``, but any number. They must be ready, and live
            until the crops are made.

    Returns:
        (n,) of ``ROW``, and the standard of NV12 surfaces or None.

    Raises:
        ValueError: a frame has the wrong type, shape or layout; the message names it.
    """
    source, table = frame_rows(frames, Importer(0))
    return table, next(standard for standard, kind in _SOURCES.items() if kind == source)


def frame_rows(frames: object, importer: Importer) -> tuple[int, NDArray[Any]]:
    """Return the kernel's number of the kind of frames, and their table (n,) of ``ROW``."""
    single = isinstance(frames, NV12) or not isinstance(frames, list | tuple)
    images: Sequence[Any] = [frames] if single else frames  # type: ignore[assignment]
    sources, table = set(), []
    for i, image in enumerate(images):
        name = "frames" if single else f"frames[{i}]"
        if not isinstance(image, NV12):
            sources.add(_BGR)
            bgr = importer.array(image, name, np.uint8)
            height, width = _check_rows(name, bgr, (None, None, 3), (3, 1))
            table.append((bgr.pointer, 0, bgr.byte_strides[0], 0, height, width))
            continue
        if image.standard not in ("bt601", "bt709"):
            raise ValueError(f"{name}.standard must be bt601 or bt709, not {image.standard!r}")
        sources.add(_SOURCES[image.standard])
        y = importer.array(image.y, f"{name}.y", np.uint8)
        uv = importer.array(image.uv, f"{name}.uv", np.uint8)
        height, width = _check_rows(f"{name}.y", y, (None, None), (1,))
        if height % 2 or width % 2:
            raise ValueError(f"{name}.y must have even sides, not {y.shape}")
        if len(uv.shape) == 2:
            _check_rows(f"{name}.uv", uv, (height // 2, width), (1,))
        else:
            _check_rows(f"{name}.uv", uv, (height // 2, width // 2, 2), (2, 1))
        table.append((y.pointer, uv.pointer, y.byte_strides[0], uv.byte_strides[0], height, width))
    if len(sources) > 1:
        raise ValueError("frames must be all BGR or all NV12 of one standard")
    return (sources.pop() if sources else _BGR), np.array(table, ROW)


def _check_rows(
    name: str, array: DeviceArray, shape: tuple[int | None, ...], packed: tuple[int, ...]
) -> tuple[int, int]:
    """Check a frame's shape and the strides within a row; return its height and width."""
    check_shape(name, array, shape, contiguous=False)
    if not all(1 <= side < 2**31 for side in array.shape):
        raise ValueError(f"{name} must be at least 1 x 1 and below 2^31, not {array.shape}")
    inner = zip(array.byte_strides[1:], packed, array.shape[1:], strict=True)
    if any(stride != wanted for stride, wanted, side in inner if side > 1):
        raise ValueError(f"{name} must have adjacent pixels in a row")
    return array.shape[0], array.shape[1]


class Table(NamedTuple):
    """Where the kernel finds the frames; ``rows`` keeps what ``pointer`` points to."""

    source: int
    pointer: int
    length: int
    on_device: bool
    rows: object


def table_of(frames: object, importer: Importer) -> Table:
    """Return the table of what ``edgepose.crop.cuda.crop`` takes as frames."""
    if isinstance(frames, FrameTable):
        if frames.standard not in _SOURCES:
            raise ValueError(
                f"frames.standard must be None, bt601 or bt709, not {frames.standard!r}"
            )
        array = importer.array(frames.rows, "frames.rows", np.uint8)
        check_shape("frames.rows", array, (None, ROW.itemsize))
        if array.pointer % 8:
            raise ValueError("frames.rows must begin at a multiple of 8 bytes")
        return Table(_SOURCES[frames.standard], array.pointer, array.shape[0], True, array)
    source, table = frame_rows(frames, importer)
    limit = module().MAX_FRAMES
    if len(table) > limit:
        raise ValueError(
            f"frames must be at most {limit} in one call, not {len(table)}; put more into a "
            "FrameTable"
        )
    return Table(source, table.ctypes.data, len(table), False, table)
