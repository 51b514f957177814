"""How well a person detector finds everyone, and only persons, on annotated scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.geometry import box_iou
from edgepose.types import Float

IOU = 0.5  # a box that overlaps a person this much has found him
SIZES = ((0, 60), (60, 100), (100, 1 << 20))  # longer side of the person's box, pixels
_SAME_AS_UNSURE = 0.5  # share of a found box inside an unsure region that makes it one


@dataclass(frozen=True)
class Matches:
    """One scene's outcome.

    ``scores`` (n,): of the box that found each person, 0 where none did. ``sides`` (n,): longer
    side of each person's box, pixels. ``human`` (n,): whether a human drew it. ``false`` (m,):
    scores of the boxes that fit nobody.
    """

    scores: Float
    sides: Float
    human: NDArray[np.bool_]
    false: Float


@dataclass(frozen=True)
class Detection:
    """Figures of many scenes at one least score; shares in [0, 1], NaN where there are none.

    ``by_size``: recall for each of ``SIZES``. ``human``: recall of the boxes drawn by humans.
    ``precision``: of the boxes found in scenes with persons. ``false_per_100``: boxes found on 100
    scenes without persons.
    """

    recall: float
    by_size: tuple[float, ...]
    human: float
    precision: float
    false_per_100: float

    @property
    def values(self) -> tuple[float, ...]:
        """All figures, in this order."""
        return (self.recall, *self.by_size, self.human, self.precision, self.false_per_100)


def match(found: Float, persons: Float, unsure: Float) -> Matches:
    """Give each person the best-scored box that overlaps him by ``IOU``; each box once.

    ``found`` (P, 5) boxes with scores, ``persons`` (n, 5) boxes with 1 for one drawn by a human,
    ``unsure`` (m, 4): what is found there counts neither way.
    """
    scores, false = np.zeros(len(persons), np.float32), []
    overlap = box_iou(persons[:, :4], found[:, :4])
    for j in np.argsort(-found[:, 4], kind="stable"):
        free = np.where(scores == 0, overlap[:, j], 0)
        best = int(free.argmax()) if len(free) else -1
        if best >= 0 and free[best] >= IOU:
            scores[best] = found[j, 4]
        elif not _is_unsure(found[j, :4], unsure):
            false.append(found[j, 4])
    sides = (persons[:, 2:4] - persons[:, :2]).max(1) if len(persons) else np.zeros(0, np.float32)
    return Matches(scores, sides, persons[:, 4] == 1, np.array(false, np.float32))


def _is_unsure(box: Float, unsure: Float) -> bool:
    low, high = np.maximum(box[:2], unsure[:, :2]), np.minimum(box[2:], unsure[:, 2:])
    inside = np.clip(high - low, 0, None).prod(1).max(initial=0)
    return bool(inside >= _SAME_AS_UNSURE * (box[2:] - box[:2]).prod())


def figures(scenes: Sequence[Matches], score: float) -> Detection:
    """Figures of boxes that score at least ``score``, above 0."""
    empty = np.zeros(0, np.float32)
    hit = np.concatenate([empty, *(s.scores for s in scenes)]) >= score
    side = np.concatenate([empty, *(s.sides for s in scenes)])
    human = np.concatenate([empty, *(s.human for s in scenes)]).astype(bool)
    wrong = [int((s.false >= score).sum()) for s in scenes]
    peopled = [len(s.scores) > 0 for s in scenes]
    beside = sum(n for n, p in zip(wrong, peopled, strict=True) if p)
    nobody = [n for n, p in zip(wrong, peopled, strict=True) if not p]
    return Detection(
        recall=_mean(hit),
        by_size=tuple(_mean(hit[(side >= low) & (side < high)]) for low, high in SIZES),
        human=_mean(hit[human]),
        precision=float(hit.sum() / (hit.sum() + beside)) if hit.any() or beside else float("nan"),
        false_per_100=100 * _mean(np.array(nobody)),
    )


def _mean(values: NDArray[np.bool_] | NDArray[np.intp]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def intervals(
    scenes: Sequence[Matches], score: float, draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """95 % interval (7, 2) of every figure, in the order of ``values``, by a bootstrap over scenes.

    NaN where a figure has nothing to count.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        figures([scenes[i] for i in rng.integers(len(scenes), size=len(scenes))], score).values
        for _ in range(draws)
    ]
    ends = [
        np.percentile([v for v in column if not np.isnan(v)] or [np.nan], (2.5, 97.5))
        for column in zip(*drawn, strict=True)
    ]
    return np.array(ends, np.float64)
