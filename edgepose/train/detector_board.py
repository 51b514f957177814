"""Who can be seen on a canvas that is composed for the detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose.train.detector_data import box_rows, overlap_share
from edgepose.types import Float

MAX_TRUTH, MAX_IGNORE = 16, 16


def mirrored(boxes: Float, size: int) -> Float:
    """Boxes (n, 4) of a canvas of ``size`` pixels that is turned left to right."""
    out: Float = boxes.copy()
    out[:, [0, 2]] = size - boxes[:, [2, 0]]
    return out


def solid(boxes: Float) -> Float:
    """The boxes that are not empty."""
    return np.asarray(boxes[(boxes[:, :2] < boxes[:, 2:]).all(1)], np.float32)


class Board:
    """What is visible of every person on a canvas while more is laid over it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.boxes = np.zeros((0, 4), np.float32)
        self.visible = np.zeros(0, np.float32)  # share of the whole person's box
        self.unsure = np.zeros((0, 4), np.float32)

    def hides(self, place: Any, limit: float = 0.35) -> bool:
        """Whether something laid at ``place`` (4,) would cover much of a person."""
        return bool(len(self.boxes) and (overlap_share(self.boxes, box_rows(place)) > limit).any())

    def cover(self, place: Float) -> None:
        """Note that ``place`` (4,) was painted over."""
        self.visible = self.visible * (1 - overlap_share(self.boxes, box_rows(place))[:, 0])
        self.unsure = self.unsure[overlap_share(self.unsure, box_rows(place))[:, 0] < 0.9]

    def add(self, persons: Float, unsure: Float, shown: Float) -> None:
        """Add boxes of a picture of which only ``shown`` (4,) is on the canvas."""
        low, high = np.tile(shown[:2], 2), np.tile(shown[2:], 2)
        self.visible = np.concatenate((self.visible, overlap_share(persons, box_rows(shown))[:, 0]))
        self.boxes = np.concatenate((self.boxes, np.clip(persons, low, high)))
        self.unsure = np.concatenate((self.unsure, np.clip(unsure, low, high)))

    def labels(self) -> tuple[Float, Float]:
        """Persons seen well enough to be found, and regions that are neither person nor not."""
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]) if len(self.boxes) else self.boxes[:, :2]
        large = (sides.max(-1, initial=0) >= 0.07 * self.size) & (sides.min(-1, initial=1e9) >= 5)
        sure = (self.visible >= 0.45) & large
        hidden = ~sure & (self.visible >= 0.05)
        persons = self.boxes[sure][:MAX_TRUTH]
        unsure = solid(np.concatenate((self.boxes[hidden], self.unsure)))[:MAX_IGNORE]
        return np.asarray(persons, np.float32), np.asarray(unsure, np.float32)
