"""Cut boxes out of frames, resample and normalise them into a network's input batch.

The definition is ``reference.py``, the contract ``csrc/crop.h``; every implementation agrees with
the reference to 0.02 of an 8-bit level (float32), plus 1e-3 relative (float16).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from edgepose.crop import cpu, reference
from edgepose.crop.cpu import Info, info
from edgepose.crop.normalisation import normalisation

__all__ = ["Info", "crop", "info", "valid_boxes"]

Implementation = Literal["auto", "cpu", "reference"]

_MAX_SIZE = 32768
_MAX_THREADS = 1024
_UINT8, _FLOAT32, _FLOAT16 = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float16)


def crop(
    frames: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    boxes: ArrayLike,
    size: int | tuple[int, int],
    *,
    frame_index: ArrayLike | None = None,
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    border: Sequence[float] | None = None,
    antialias: bool = True,
    dtype: DTypeLike = np.float32,
    out: NDArray[Any] | None = None,
    impl: Implementation = "auto",
    threads: int = 1,
) -> NDArray[Any]:
    """Crop, resample and normalise boxes of one or several frames.

    Half-pixel bilinear where a box is enlarged, the exact area average where it is reduced, read
    from the whole frame; outside the frame lies a constant colour. Nothing is rounded to 8 bits in
    between: ``out = v * (scale / std) - mean / std`` per RGB channel.

    Args:
        frames: (H, W, 3) uint8 BGR, or a list or tuple of such arrays, which may differ in size.
            Strided and flipped rows are read in place; other layouts are copied.
        boxes: (n, 4) real numbers x0, y0, x1, y1, taken as float32: continuous edges in frame
            pixels, pixel i covers [i, i + 1). May lie partly or wholly outside the frame. A box
            that ``valid_boxes`` refuses gives a crop of padding only.
        size: S, or (S_h, S_w): the crop's side(s) in pixels.
        frame_index: (n,) integers, the frame of each box; may be omitted with a single frame.
        scale: factor on the 8-bit levels, not zero.
        mean: per RGB channel, subtracted after ``scale``.
        std: per RGB channel, not zero, divided by last.
        border: RGB colour outside the frame, in 8-bit levels (before ``scale``). None: the colour
            that normalises to exactly 0, ``mean / scale``.
        antialias: False reads two taps per axis however far a box is reduced.
        dtype: float32 or float16; float16 is one rounding of the float32 result.
        out: (n, 3, S_h, S_w) of ``dtype``, C-contiguous and writable; written and returned.
        impl: "cpu" (C++; ``info`` tells its path), "reference" (NumPy, slow), or "auto", the
            fastest there is.
        threads: how many share the boxes in C++. Starting one costs tens of µs: worth it from about
            a millisecond of work on.

    Returns:
        (n, 3, S_h, S_w) RGB of ``dtype``.

    Raises:
        ValueError: an argument has the wrong type, shape or range; the message names it.
        CropError: EDGEPOSE_CPU asks for a path that there is not.
    """
    images = _frames(frames)
    rectangles = _boxes(boxes)
    n = len(rectangles)
    height, width = _size(size)
    index = _frame_index(frame_index, n, len(images))
    colour = normalisation(scale, mean, std, border)
    result = _out(out, (n, 3, height, width), dtype)
    count = _threads(threads)
    if impl in ("auto", "cpu"):
        cpu.crop(images, rectangles, index, result, colour, bool(antialias), count)
    elif impl == "reference":
        reference.crop(images, rectangles, index, result, colour, bool(antialias))
    else:
        raise ValueError(f"impl must be one of auto, cpu, reference, not {impl!r}")
    return result


def valid_boxes(boxes: ArrayLike) -> NDArray[np.bool_]:
    """Tell which boxes can be cropped.

    Args:
        boxes: (n, 4) real numbers x0, y0, x1, y1, taken as float32.

    Returns:
        (n,) bool: True where all edges are finite and within ±2^24 pixels, x0 < x1 and y0 < y1.

    Raises:
        ValueError: ``boxes`` has the wrong type or shape.
    """
    return reference.valid_boxes(_boxes(boxes))


def _frames(frames: object) -> Sequence[NDArray[np.uint8]]:
    if isinstance(frames, np.ndarray):
        return (_frame(frames, "frames"),)
    if not isinstance(frames, list | tuple):
        raise ValueError("frames must be an (H, W, 3) uint8 array or a list or tuple of them")
    return [_frame(image, f"frames[{i}]") for i, image in enumerate(frames)]


def _frame(image: object, name: str) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != _UINT8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{name} must be a uint8 array, not {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"{name} must have shape (H, W, 3), at least 1 x 1, not {image.shape}")
    return image


def _boxes(boxes: ArrayLike) -> NDArray[np.float32]:
    array = _array(boxes, "boxes", "fiu")
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (n, 4), not {array.shape}")
    if array.dtype == _FLOAT32:
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):  # too large for float32: infinite, hence not croppable
        return np.ascontiguousarray(array, dtype=np.float32)


def _size(size: object) -> tuple[int, int]:
    try:
        if type(size) is int:
            height = width = size
        elif isinstance(size, tuple | list):
            height, width = (operator.index(side) for side in size)
        else:
            height = width = operator.index(size)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"size must be an int or (height, width), not {size!r}") from None
    if not (1 <= height <= _MAX_SIZE and 1 <= width <= _MAX_SIZE):
        raise ValueError(f"size must be from 1 to {_MAX_SIZE}, not {size!r}")
    return height, width


def _frame_index(frame_index: ArrayLike | None, n: int, frames: int) -> NDArray[np.int64]:
    if frame_index is None:
        if frames != 1 and n > 0:
            raise ValueError(f"frame_index is needed with {frames} frames")
        return np.zeros(n, np.int64)
    index = _array(frame_index, "frame_index", "iu")
    if index.shape != (n,):
        raise ValueError(f"frame_index must have shape ({n},), not {index.shape}")
    if n > 0 and (index.min() < 0 or index.max() >= frames):
        raise ValueError(f"frame_index must be from 0 to {frames - 1}")
    return np.ascontiguousarray(index, dtype=np.int64)


def _out(out: NDArray[Any] | None, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype must be float32 or float16, not {dtype!r}") from None
    if kind not in (_FLOAT32, _FLOAT16):
        raise ValueError(f"dtype must be float32 or float16, not {kind}")
    if out is None:
        return np.empty(shape, kind)
    if not isinstance(out, np.ndarray) or out.dtype != kind:
        raise ValueError(f"out must be a {kind} array")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, not {out.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError("out must be C-contiguous and writable")
    return out


def _threads(threads: object) -> int:
    try:
        count = operator.index(threads)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if not 1 <= count <= _MAX_THREADS:
        raise ValueError(f"threads must be an int from 1 to {_MAX_THREADS}, not {threads!r}")
    return count


def _array(values: ArrayLike, name: str, kinds: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in kinds:
        numbers = "integers" if kinds == "iu" else "real numbers"
        raise ValueError(f"{name} must be {numbers}, not {values!r}")
    return array
