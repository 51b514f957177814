"""Scores that mean something: the chance that a joint lies within 0.2 torso diameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from edgepose.evaluate.metrics import torso_size
from edgepose.skeleton import LSP14
from edgepose.train.data import Array, Person

_THRESHOLD = 0.2
_EPSILON = 1e-4


def fit(joints: Array, masses: Array, persons: Sequence[Person]) -> tuple[Array, Array]:
    """Platt scaling (Platt 1999) per joint: slopes and offsets (k,) on the logit of the mass.

    ``joints`` (n, k, 2) pixels and ``masses`` (n, k) are a stage's output on held-out ``persons``.
    Joints with few labels are held near the fit over all joints.
    """
    truth = np.stack([p.joints for p in persons])
    labelled = np.stack([p.labelled for p in persons])
    size = torso_size(truth, labelled, LSP14)
    known = labelled & ~np.isnan(size)[:, None]
    error = np.linalg.norm(joints - truth, axis=-1)
    with np.errstate(invalid="ignore"):
        right = error <= _THRESHOLD * size[:, None]
    mass = np.clip(masses, _EPSILON, 1 - _EPSILON)
    logit = np.log(mass) - np.log1p(-mass)
    common = _logistic(logit[known], right[known], np.array([1.0, 0.0]), 1.0)
    fits = [
        _logistic(logit[known[:, i], i], right[known[:, i], i], common, 5.0)
        for i in range(joints.shape[1])
    ]
    slope, offset = np.array(fits, np.float32).T
    return slope, offset


def _logistic(
    x: NDArray[np.floating], right: NDArray[np.bool_], centre: NDArray[np.float64], pull: float
) -> NDArray[np.float64]:
    def cost(p: NDArray[np.float64]) -> float:
        chance = np.clip(expit(p[0] * x + p[1]), 1e-6, 1 - 1e-6)
        likelihood = np.where(right, np.log(chance), np.log1p(-chance)).sum()
        return float(-likelihood + pull * ((p - centre) ** 2).sum())

    return np.asarray(minimize(cost, centre, method="Nelder-Mead").x, np.float64)
