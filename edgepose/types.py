"""What travels between the rooms: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(slots=True)
class Person:
    """One person in one frame.

    ``id`` stays the same while the person is followed (from 1). ``box`` (4,) float32 x0, y0, x1, y1
    and ``joints`` (k, 2) float32 are continuous frame pixels; ``scores`` (k,) float32 and ``score``
    (detector and pose together) lie in [0, 1].
    """

    id: int
    box: Float
    score: float
    joints: Float
    scores: Float


@dataclass(slots=True)
class Result:
    """One frame and the persons in it.

    ``frame`` (H, W, 3) uint8 BGR is the source's own picture, not a copy; it is the reader's from
    here on. ``index`` counts captured frames from 0, so a dropped live frame leaves a gap. ``time``
    is in seconds from the start of the source. ``captured`` is when the frame was decoded
    (``time.perf_counter()``); ``seconds`` holds what each stage took. ``name`` is the file's name
    where the source is a folder or a picture.
    """

    index: int
    time: float
    frame: Image
    people: list[Person]
    captured: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    name: str | None = None


@dataclass(slots=True)
class Poses:
    """Joints of P persons.

    ``stages`` holds the estimate (P, k, 2) after each stage in frame pixels, ``stage_scores`` its
    scores (P, k) in [0, 1], ``seconds`` the time of every step.
    """

    stages: list[Float]
    stage_scores: list[Float]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def joints(self) -> Float:
        """(P, k, 2) float32, frame pixels: the last stage's estimate."""
        return self.stages[-1]

    @property
    def scores(self) -> Float:
        """(P, k) float32 in [0, 1]: the last stage's confidence per joint."""
        return self.stage_scores[-1]

    def __len__(self) -> int:
        return len(self.joints)


def as_image(array: Any) -> Image:
    """Give OpenCV's loosely typed arrays their static type; no copy."""
    image: Image = array
    return image
