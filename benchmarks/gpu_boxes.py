"""The arithmetic between networks against ``edgepose.geometry``: random and hostile rows.

Used on a GPU (``gpu_bench.py``) and, with the kernels' source on the host, in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from edgepose import geometry
from edgepose.skeleton import COCO17, LSP14, Skeleton

FLOOR = 0.2  # of geometry.torso_diameter
TOLERANCE = 1e-5  # of the largest value in a row


class Found(NamedTuple):
    """What a step writes."""

    points: np.ndarray
    boxes: np.ndarray
    index: np.ndarray


class Steps:
    """The kernels of a module, on the device that ``upload`` and ``download`` reach."""

    def __init__(
        self,
        module: ModuleType,
        upload: Callable[[np.ndarray], Any],
        download: Callable[[Any], np.ndarray],
        stream: int = 0,
    ) -> None:
        self.module, self.upload, self.download = module, upload, download
        self.stream = stream

    def square(self, boxes: np.ndarray, margin: float, count: int | None = None) -> np.ndarray:
        """Run ``square_boxes`` into poisoned memory."""
        given, out = self.upload(boxes), self.upload(np.full_like(boxes, np.nan))
        rows, _kept = self._rows(len(boxes), 1, count)
        self.module.square_boxes(rows, given.pointer, margin, out.pointer, 0, self.stream)
        return self.download(out)

    def step(
        self,
        skeleton: Skeleton,
        boxes: np.ndarray,
        offsets: np.ndarray,
        points: np.ndarray | None = None,
        *,
        sigma: float = 1.2,
        count: int | None = None,
        index: np.ndarray | None = None,
    ) -> Found:
        """Run ``denormalise``, or ``refine`` of ``points``, into poisoned memory."""
        n, k = offsets.shape[:2]
        found = Found(
            self.upload(np.full((n, k, 2), np.nan, np.float32)),
            self.upload(np.full((n, k, 4), np.nan, np.float32)),
            self.upload(np.full((n, k), -7, np.int64)),
        )
        pairs = tuple(map(tuple, skeleton.torso_index.tolist()))
        given = [None if a is None else self.upload(a) for a in (boxes, offsets, points, index)]
        at_boxes, at_offsets, at_points, at_index = (0 if a is None else a.pointer for a in given)
        rows, _kept = self._rows(n, k, count)
        following = self.module.NextBoxes(
            sigma, pairs, FLOOR, at_index, found.boxes.pointer, found.index.pointer
        )
        to = found.points.pointer
        if points is None:
            self.module.denormalise(rows, at_offsets, at_boxes, following, to, 0, self.stream)
        else:
            self.module.refine(rows, at_points, at_offsets, at_boxes, following, to, 0, self.stream)
        return Found(*map(self.download, found))

    def _rows(self, rows: int, points: int, count: int | None) -> tuple[Any, Any]:
        """The record and what it points to."""
        number = None if count is None else self.upload(np.array([count], np.int32))
        return self.module.Rows(rows, points, 0 if number is None else number.pointer), number


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest error in tolerances; NaN and infinity must be where they are wanted."""
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return np.inf
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return np.inf
    size = np.where(finite, np.abs(wanted), 0)
    size = size.max(axis=tuple(range(1, wanted.ndim)), keepdims=True, initial=0)
    excess = np.where(finite, np.abs(got - np.where(finite, wanted, 0)), 0)
    excess = excess / (TOLERANCE * np.maximum(size, 1e-30))
    return float(np.nan_to_num(excess, nan=np.inf).max(initial=0))


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """(…, 4) float32, in and around a frame."""
    low = rng.uniform(-200, 1800, (*shape, 2))
    side = np.exp(rng.uniform(0, np.log(2000), (*shape, 2)))
    return np.concatenate([low, low + side], -1).astype(np.float32)


def make_hostile(rng: np.random.Generator, points: np.ndarray, skeleton: Skeleton) -> None:
    """Make most rows awkward: not finite, huge, all points the same, no torso."""
    shoulder, hip = skeleton.torso_index[0]
    for row in points:
        kind = rng.integers(8)
        if kind < 3:
            row.reshape(-1)[rng.integers(row.size)] = (np.nan, np.inf, -np.inf)[kind]
        elif kind == 3:
            row[:] = row[0]
        elif kind == 4:
            row[skeleton.torso_index.ravel()] = row[shoulder]
        elif kind == 5:
            row *= rng.choice([1e-30, 1e5, 1e18, 1e30])
        elif kind == 6:
            row[hip] = row[shoulder]


def stages(
    steps: Steps, skeleton: Skeleton, n: int, hostile: bool, rng: np.random.Generator
) -> float:
    """The largest error of a stage 1 and a stage 2 of ``n`` rows, in tolerances."""
    k = len(skeleton)
    worst = 0.0
    with np.errstate(all="ignore"):
        for sigma in (0.4, 1.2, 3.0):
            boxes = random_boxes(rng, n)
            index = rng.integers(0, 4, n)
            normalised = rng.normal(0, 0.3, (n, k, 2)).astype(np.float32)
            if hostile:
                make_hostile(rng, normalised, skeleton)
            first = steps.step(skeleton, boxes, normalised, sigma=sigma, index=index)
            moves = rng.normal(0, 0.1, (n, k, 2)).astype(np.float32)
            second = steps.step(
                skeleton, first.boxes, moves, first.points, sigma=sigma, index=index
            )
            worst = max(
                worst,
                error(first.points, geometry.denormalise(normalised, boxes)),
                error(first.boxes, geometry.joint_boxes(first.points, skeleton, sigma)),
                error(second.points, geometry.refine(first.points, moves, first.boxes)),
                error(second.boxes, geometry.joint_boxes(second.points, skeleton, sigma)),
            )
            for found in (first, second):
                if not np.array_equal(found.index, np.repeat(index[:, None], k, 1)):
                    return np.inf
    return worst


def parity(
    module: ModuleType,
    upload: Callable[[np.ndarray], Any],
    download: Callable[[Any], np.ndarray],
    stream: int = 0,
) -> dict[str, Any]:
    """Hold the kernels to ``edgepose.geometry``; errors are multiples of the tolerance."""
    steps, rng = Steps(module, upload, download, stream), np.random.default_rng(0)
    worst = 0.0
    rows = (0, 1, 2, 7, 33)
    for skeleton in (LSP14, COCO17):
        for n in rows:
            for hostile in (False, True):
                worst = max(worst, stages(steps, skeleton, n, hostile, rng))
    boxes = random_boxes(rng, 200)
    worst = max(worst, error(steps.square(boxes, 1.25), geometry.square_boxes(boxes, 1.25)))
    return {"rows": rows, "worst_error_in_tolerances": worst, "passed": worst <= 1}
