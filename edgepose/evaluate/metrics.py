"""The figures of the pose literature, on arrays: PCK, PCP and the calibration of scores.

PCK (Yang & Ramanan 2013, PDJ in the DeepPose paper): a joint is right when it lies within a
fraction of the torso diameter. PCP (Ferrari et al. 2008): a limb is right when both its ends lie
within half the limb's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.skeleton import Skeleton

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rates:
    """Right and counted instances (m,) of the m joints or limbs in ``names``.

    ``mean`` is over the names in ``averaged``.
    """

    names: tuple[str, ...]
    right: NDArray[np.int64]
    counted: NDArray[np.int64]
    averaged: tuple[str, ...]

    @property
    def rates(self) -> NDArray[np.float64]:
        """(m,) share right per name, in [0, 1], NaN where nothing was counted."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.right / self.counted, np.float64)

    @property
    def mean(self) -> float:
        """Mean rate over ``averaged``; names never counted do not enter; NaN if none was."""
        rates = [r for n, r in zip(self.names, self.rates, strict=True) if n in self.averaged]
        known = [r for r in rates if not np.isnan(r)]
        return float(np.mean(known)) if known else float("nan")


def limb_joints(skeleton: Skeleton) -> tuple[str, ...]:
    """The twelve joints of arms and legs (ankle, knee, hip, wrist, elbow, shoulder; both sides)."""
    in_parts = {joint for _, pair in skeleton.parts for joint in pair}
    return tuple(j for j in skeleton.joints if j in in_parts)


def torso_size(truth: ArrayLike, labelled: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """The largest of the skeleton's torso pairs among labelled ones, pixels.

    Of people: of the two shoulder - opposite hip diagonals. Without torso pairs it is the larger
    side of the labelled joints' extent. ``truth`` (n, k, 2) pixels and ``labelled`` (n, k) give
    (n,) float64; NaN where no pair is labelled or its ends coincide.
    """
    y, known = np.asarray(truth, np.float64), np.asarray(labelled, bool)
    if not skeleton.torso:
        low = np.where(known[..., None], y, np.inf).min(1)
        high = np.where(known[..., None], y, -np.inf).max(1)
        extent = (high - low).max(-1)
        return np.where(extent > 0, extent, np.nan)
    pairs = skeleton.torso_index
    length = np.linalg.norm(y[:, pairs[:, 0]] - y[:, pairs[:, 1]], axis=-1)
    usable = known[:, pairs].all(-1)
    largest = np.where(usable, length, -1.0).max(-1)
    return np.where(largest > 0, largest, np.nan)


def hits(
    joints: ArrayLike, truth: ArrayLike, labelled: ArrayLike, skeleton: Skeleton, threshold: float
) -> tuple[Mask, Mask]:
    """Which joints (n, k) count, and which of all lie within ``threshold`` torso sizes.

    ``joints`` and ``truth`` (n, k, 2) pixels, ``labelled`` (n, k). A joint counts when it is
    labelled and its person has a labelled diagonal; one at NaN is wrong.
    """
    error = np.linalg.norm(np.asarray(joints, np.float64) - np.asarray(truth, np.float64), axis=-1)
    size = torso_size(truth, labelled, skeleton)
    counted = np.asarray(labelled, bool) & ~np.isnan(size)[:, None]
    with np.errstate(invalid="ignore"):
        return counted, error <= threshold * size[:, None]


def pck(
    joints: ArrayLike, truth: ArrayLike, labelled: ArrayLike, skeleton: Skeleton, threshold: float
) -> Rates:
    """Joints within ``threshold`` torso sizes of the truth, per joint (Yang & Ramanan 2013).

    ``joints`` and ``truth`` (n, k, 2) pixels, ``labelled`` (n, k). A joint at NaN is wrong. Persons
    without a labelled diagonal are not counted. ``mean`` is over the twelve limb joints.
    """
    counted, right = hits(joints, truth, labelled, skeleton, threshold)
    right &= counted
    return Rates(skeleton.joints, right.sum(0), counted.sum(0), limb_joints(skeleton))


def pcp(
    joints: ArrayLike,
    truth: ArrayLike,
    labelled: ArrayLike,
    skeleton: Skeleton,
    threshold: float = 0.5,
) -> Rates:
    """Limbs whose two ends both lie within ``threshold`` limb lengths of the truth (strict PCP).

    ``joints`` and ``truth`` (n, k, 2) pixels, ``labelled`` (n, k). A limb with an end at NaN is
    wrong, one without a length is not counted. ``mean`` is over the eight limbs. Source: Ferrari
    et al. 2008, section 3.2 of the DeepPose paper.
    """
    y, t = np.asarray(joints, np.float64), np.asarray(truth, np.float64)
    known = np.asarray(labelled, bool)
    ends = [[skeleton.index(a), skeleton.index(b)] for _, (a, b) in skeleton.parts]
    pairs = np.array(ends, np.intp).reshape(-1, 2)
    error = np.linalg.norm(y - t, axis=-1)[:, pairs]
    length = np.linalg.norm(t[:, pairs[:, 0]] - t[:, pairs[:, 1]], axis=-1)
    counted = known[:, pairs].all(-1) & (length > 0)
    with np.errstate(invalid="ignore"):
        right = counted & (error <= threshold * length[..., None]).all(-1)
    names = tuple(name for name, _ in skeleton.parts)
    return Rates(names, right.sum(0), counted.sum(0), names)


def reliability(
    scores: ArrayLike, right: ArrayLike, bins: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean score, hit rate and number of joints in each of ``bins`` equal steps of the score.

    ``scores`` (n,) in [0, 1], ``right`` (n,) bool; (bins,) each, NaN where a bin is empty. Source:
    DeGroot & Fienberg 1983.
    """
    s, hit = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    index = np.minimum((s * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        score, rate = (np.bincount(index, values, bins) / count for values in (s, hit))
    return score, rate, count


def calibration_error(scores: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: mean distance of score and hit rate over equal ``bins``.

    Arguments as for :func:`reliability`; bins weigh as many as they hold. NaN if n is 0. Source:
    Naeini et al. 2015.
    """
    score, rate, count = reliability(scores, right, bins)
    total = count.sum()
    return float(np.nansum(np.abs(score - rate) * count) / total) if total else float("nan")
