"""The crop kernel's definition for NV12 frames, in float64 NumPy; see ``reference.py``.

A decoder's surface has a plane Y of (H, W) and a plane of interleaved U and V samples of
(H / 2, W / 2, 2), limited range. A chroma sample lies in the centre of its 2 x 2 pixels, so the
chroma planes are images of half the size, and a box on them is the box halved. Each plane is
resampled on its own grid; only then is the colour converted, unrounded and unclipped. Outside each
plane lies the border's colour, converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.normalisation import Normalisation
from edgepose.crop.reference import valid_boxes, weights
from edgepose.nv12 import Standard, matrix

_BLACK = np.array([16.0, 128.0, 128.0])


def crop(
    frames: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    boxes: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    out: NDArray[Any],
    normalisation: Normalisation,
    antialias: bool,
    standard: Standard,
) -> None:
    """Crop ``boxes[i]`` of ``frames[frame_index[i]]`` into ``out[i]``; see ``reference.crop``.

    Args:
        frames: plane Y (H, W) and plane UV (H / 2, W / 2, 2) uint8 each; H and W are even.
        boxes: (n, 4) float32 x0, y0, x1, y1, in pixels of the plane Y.
        frame_index: (n,) int64.
        out: (n, 3, S_h, S_w) float32 or float16, RGB; written.
        normalisation: levels to outputs.
        antialias: see ``reference.weights``.
        standard: the colour matrix.
    """
    height, width = out.shape[2:]
    to_rgb = matrix(standard)
    outside = np.linalg.solve(to_rgb, np.array(normalisation.border)) + _BLACK
    factor, offset = (
        np.array(v)[:, None, None] for v in (normalisation.gain, normalisation.padding)
    )
    usable = valid_boxes(boxes)
    for i, box in enumerate(boxes.tolist()):
        rest = np.zeros((3, height, width))
        if usable[i]:
            y, uv = frames[frame_index[i]]
            for k, plane, scale in ((0, y, 1), (1, uv[..., 0], 2), (2, uv[..., 1], 2)):
                x0, y0, x1, y1 = (edge / scale for edge in box)
                wy = weights(y0, y1, height, plane.shape[0], antialias)
                wx = weights(x0, x1, width, plane.shape[1], antialias)
                rest[k] = wy @ (plane - outside[k]) @ wx.T
        rgb = np.einsum("ck,kij->cij", to_rgb, rest)
        with np.errstate(over="ignore"):
            out[i] = (factor * rgb + offset).astype(np.float32)
