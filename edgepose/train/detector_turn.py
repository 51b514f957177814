"""Pictures made wider or turned, before they are pasted onto a canvas of the detector's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.train.detector_data import LabelledPicture
from edgepose.types import Float


def widen(source: LabelledPicture, rng: np.random.Generator) -> LabelledPicture:
    """Continue a picture's person-free margins, mirrored to and fro, without a seam."""
    h, w = source.picture.shape[:2]
    taken = np.concatenate((source.persons, source.unsure))
    # Fingers and hair reach beyond the boxes.
    low, high = taken[:, :2].min(0) - 3, taken[:, 2:].max(0) + 3
    columns, left = _beyond(w, int(low[0]), int(w - high[0]), rng)
    rows, top = _beyond(h, int(low[1]), int(h - high[1]), rng)
    picture = source.picture[rows][:, columns]
    shift = np.array([left, top, left, top], np.float32)
    moved = (source.persons + shift, source.unsure + shift, source.annotated + shift)
    return LabelledPicture(source.name, picture, *moved)


def _beyond(
    side: int, before: int, behind: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], int]:
    """Source positions along a side that is continued at both ends, and by how much in front.

    ``before`` and ``behind`` are the widths of the margins to continue, in pixels.
    """
    reach = [int(rng.uniform(0, min(side, 5 * m))) if m >= 8 else 0 for m in (before, behind)]
    front = _to_and_fro(reach[0], before)[::-1]
    back = side - 1 - _to_and_fro(reach[1], behind)
    return np.concatenate((front, np.arange(side), back)), reach[0]


def turn(source: LabelledPicture, rng: np.random.Generator) -> LabelledPicture:
    """Rotate some pictures a little, a few by any angle; boxes by their inscribed ellipse."""
    chance = rng.random()
    if chance > 0.25:
        return source
    angle = rng.normal(0, 12) if chance > 0.04 else rng.uniform(-100, 100)
    h, w = source.picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1.0)
    picture = cv2.warpAffine(
        source.picture, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    c, s = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))

    def turned(boxes: Float) -> Float:
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        rx = np.hypot(half[:, 0] * c, half[:, 1] * s)
        ry = np.hypot(half[:, 0] * s, half[:, 1] * c)
        out = np.stack(
            (centre[:, 0] - rx, centre[:, 1] - ry, centre[:, 0] + rx, centre[:, 1] + ry), 1
        )
        return np.asarray(np.clip(out, 0, [w, h, w, h]), np.float32)

    return LabelledPicture(
        source.name,
        np.asarray(picture, np.uint8),
        turned(source.persons),
        turned(source.unsure),
        turned(source.annotated),
    )


def _to_and_fro(count: int, margin: int) -> NDArray[np.intp]:
    """0, 1, …, margin - 1, margin - 1, …, 1, 0, 0, 1, … in all ``count`` numbers."""
    phase = np.arange(count) % (2 * max(margin, 1))
    return np.minimum(phase, 2 * margin - 1 - phase)
