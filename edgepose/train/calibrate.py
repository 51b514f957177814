"""Scores that mean something: the chance that a joint lies within 0.2 torso diameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from edgepose.evaluate import metrics
from edgepose.skeleton import Skeleton
from edgepose.train.examples import Example, truth_of
from edgepose.types import Float

_THRESHOLD = 0.2
EPSILON = 1e-4  # keeps the logit of a mass of 0 or 1 finite


def fit(
    joints: Float,
    masses: Float,
    persons: Sequence[Example],
    skeleton: Skeleton,
    weights: Float | None = None,
) -> tuple[Float, Float, Float]:
    """Slopes, contexts and offsets (k,): logistic regression of each joint's hits.

    The first acts on the logit of the joint's own mass (Platt 1999), the second on the mean logit
    of the person's joints: on a hard pose a joint is less sure than its own map tells. ``joints``
    (n, k, 2) pixels and ``masses`` (n, k) are a stage's output on held-out ``persons``, who count
    by ``weights`` (n,), all alike if None. Joints with few labels are held near the fit over all
    joints.
    """
    known, right = hits(joints, persons, skeleton)
    features = _features(masses)
    weight = np.ones(len(persons)) if weights is None else np.asarray(weights, np.float64)
    each = np.broadcast_to(weight[:, None], known.shape)
    plain = np.array([1.0, 0.0, 0.0])
    common = _logistic(features[known], right[known], each[known], plain, 1.0)
    fits = []
    for i in range(known.shape[1]):
        rows = known[:, i]
        fits.append(_logistic(features[rows, i], right[rows, i], weight[rows], common, 5.0))
    slope, context, offset = np.array(fits, np.float32).T
    return slope, context, offset


def out_of_fold(
    joints: Float,
    masses: Float,
    persons: Sequence[Example],
    skeleton: Skeleton,
    weights: Float,
    folds: int = 5,
) -> Float:
    """Scores (n, k) of each person by a fit to the others: what the scores are worth on new people.

    Arguments as for :func:`fit`; every ``folds``-th person is left out in turn.
    """
    scores = np.empty(masses.shape, np.float32)
    for fold in range(folds):
        out = np.arange(len(persons)) % folds == fold
        rest = [p for p, left_out in zip(persons, out, strict=True) if not left_out]
        parameters = np.stack(fit(joints[~out], masses[~out], rest, skeleton, weights[~out]), -1)
        scores[out] = expit((_features(masses[out]) * parameters).sum(-1))
    return scores


def hits(
    joints: Float, persons: Sequence[Example], skeleton: Skeleton
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which joints (n, k) can be judged, and which lie within 0.2 torso diameters of the truth."""
    return metrics.hits(joints, *truth_of(persons), skeleton, _THRESHOLD)


def _features(masses: Float) -> NDArray[np.floating]:
    """(n, k, 3): the logit of each joint's mass, its mean over the person's joints, one."""
    mass = np.clip(masses, EPSILON, 1 - EPSILON)
    logit = np.log(mass) - np.log1p(-mass)
    mean = np.broadcast_to(logit.mean(-1, keepdims=True), logit.shape)
    return np.stack((logit, mean, np.ones_like(logit)), -1)


def _logistic(
    x: NDArray[np.floating],
    right: NDArray[np.bool_],
    weight: NDArray[np.floating],
    centre: NDArray[np.float64],
    pull: float,
) -> NDArray[np.float64]:
    """Parameters (m,) of features ``x`` (n, m), held near ``centre``."""

    def cost(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = x @ p
        likelihood = (weight * (np.where(right, z, 0) - np.logaddexp(0, z))).sum()
        slope = x.T @ (weight * (expit(z) - right)) + 2 * pull * (p - centre)
        return float(pull * ((p - centre) ** 2).sum() - likelihood), slope

    return np.asarray(minimize(cost, centre, jac=True, method="BFGS").x, np.float64)
