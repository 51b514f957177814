"""How calm the joints of a followed person are: jitter on joints at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STILL = 0.5  # torso diameters per second: slower is at rest
_WINDOW = 0.25  # seconds over which that speed is measured


@dataclass(frozen=True)
class Jitter:
    """Of one or several tracks.

    ``still`` and ``moving``: median acceleration of joints at rest and in motion, torso diameters
    per second². ``share``: how many of the samples are at rest.
    """

    still: float
    moving: float
    share: float


def accelerations(
    joints: ArrayLike, torso: float, fps: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Size of the acceleration, and whether the joint is at rest: both (T - 2·w, k).

    ``joints`` (T, k, 2) pixels are one person in consecutive frames, ``torso`` pixels. The
    acceleration is the second difference of positions. A joint is at rest in a frame where the
    medians of its places in the w frames before and after (a quarter of a second) lie so close that
    it moved slower than 0.5 torso diameters a second. Empty for fewer than 2·w + 1 frames.
    """
    y = np.asarray(joints, np.float64) / torso
    w = max(2, round(_WINDOW * fps))
    if len(y) < 2 * w + 1:
        return np.empty((0, y.shape[1])), np.empty((0, y.shape[1]), bool)
    second = np.linalg.norm(y[:-2] - 2 * y[1:-1] + y[2:], axis=-1) * fps**2
    windows = np.median(np.lib.stride_tricks.sliding_window_view(y, w, axis=0), axis=-1)
    travel = np.linalg.norm(windows[w + 1 :] - windows[: -w - 1], axis=-1)
    # Windows centred (w + 1) frames apart.
    speed = travel * fps / (w + 1)
    return second[w - 1 : len(y) - w - 1], speed < _STILL


def jitter(tracks: list[tuple[NDArray[np.float32], float]], fps: float) -> Jitter:
    """Pool tracks ``(joints (T, k, 2) pixels, torso in pixels)`` of consecutive frames."""
    parts = [accelerations(joints, torso, fps) for joints, torso in tracks]
    size = np.concatenate([a.ravel() for a, _ in parts]) if parts else np.empty(0)
    rest = np.concatenate([s.ravel() for _, s in parts]) if parts else np.empty(0, bool)

    def median(values: NDArray[np.float64]) -> float:
        return float(np.median(values)) if len(values) else float("nan")

    share = float(rest.mean()) if len(rest) else float("nan")
    return Jitter(median(size[rest]), median(size[~rest]), share)
