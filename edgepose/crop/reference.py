"""The crop kernel's definition, in float64 NumPy: short, slow, and what every kernel is held to.

Per axis, with S outputs over the box side [lo, hi) and pixel i covering [i, i + 1):

    s = (hi - lo) / S                            source pixels per output
    c_j = lo + (j + 1/2) s                       centre of output j
    r = max(1, s), or 1 without antialiasing     window
    W[j, i] = |[c_j - r/2, c_j + r/2] ∩ [i, i + 1]| / r

and a crop is ``border + Wy @ (image - border) @ Wx.T``: what a window covers outside the frame
has the border's colour. The contract in full is in ``csrc/crop.h``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.normalisation import Normalisation

MAX_EDGE = 2.0**24
"""Largest magnitude of a croppable box's edge: beyond it float32 skips whole pixels."""


def weights(lo: float, hi: float, size: int, extent: int, antialias: bool) -> NDArray[np.float64]:
    """Weights of one axis.

    Args:
        lo: lower edge of the box, in pixels.
        hi: upper edge, above ``lo``.
        size: number of outputs S.
        extent: number of pixels of the frame along this axis.
        antialias: whether the window grows with the box.

    Returns:
        (size, extent) float64. A row sums to the share of its window inside the frame.
    """
    step = (float(hi) - float(lo)) / size
    window = max(1.0, step) if antialias else 1.0
    centre = float(lo) + (np.arange(size)[:, None] + 0.5) * step
    pixel = np.arange(extent)[None, :]
    begin = np.maximum(centre - window / 2, pixel)
    end = np.minimum(centre + window / 2, pixel + 1)
    return np.asarray(np.maximum(end - begin, 0.0) / window, dtype=np.float64)


def valid_boxes(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes can be cropped: finite, not empty, not inverted, no edge beyond ``MAX_EDGE``."""
    x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
    ordered = (x0 < x1) & (y0 < y1)  # NaN fails
    return np.asarray(ordered & (np.abs(boxes) <= MAX_EDGE).all(axis=-1))


def crop(
    frames: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    out: NDArray[Any],
    normalisation: Normalisation,
    antialias: bool,
) -> None:
    """Crop ``boxes[i]`` of ``frames[frame_index[i]]`` into ``out[i]``; arguments are checked.

    Args:
        frames: (H, W, 3) uint8 BGR each.
        boxes: (n, 4) float32 x0, y0, x1, y1.
        frame_index: (n,) int64.
        out: (n, 3, S_h, S_w) float32 or float16, RGB; written.
        normalisation: levels to outputs.
        antialias: see ``weights``.
    """
    height, width = out.shape[2:]
    factor, outside, offset = (np.array(v)[:, None, None] for v in normalisation)
    usable = valid_boxes(boxes)
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        if not usable[i]:
            result = np.zeros((3, height, width))
        else:
            image = frames[frame_index[i]]
            wy = weights(y0, y1, height, image.shape[0], antialias)
            wx = weights(x0, x1, width, image.shape[1], antialias)
            rgb = image[:, :, ::-1].transpose(2, 0, 1)
            result = wy @ (rgb - outside) @ wx.T
        normalised = factor * result + offset
        with np.errstate(over="ignore"):  # float16 saturates to infinity, as in IEEE
            out[i] = normalised.astype(np.float32)
