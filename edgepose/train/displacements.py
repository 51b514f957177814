"""Simulated displacements, section 3.2: normals fitted per joint to the earlier stages' errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.geometry import torso_diameter
from edgepose.skeleton import Skeleton
from edgepose.train.examples import Example, truth_of
from edgepose.types import Float


@dataclass(frozen=True)
class Displacements:
    """``N_i^{(s-1)}``: mean (k, 2) and covariance (k, 2, 2) of each joint's error.

    In sides of the joint's crop, σ·diam(y): errors of large and small persons are then alike. The
    paper fits pixels, on persons of one size.
    """

    mean: Float
    covariance: Float

    def draw(self, rng: np.random.Generator) -> Float:
        """One δ (k, 2) per joint."""
        factor = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(2))
        normal = rng.normal(size=self.mean.shape)
        return np.asarray(self.mean + np.einsum("kij,kj->ki", factor, normal), np.float32)


def complete(truth: Float, labelled: np.ndarray, estimate: Float) -> Float:
    """The pose (…, k, 2) with estimates where nothing is labelled, so that diam(y) is defined."""
    return np.where(np.asarray(labelled)[..., None], truth, estimate).astype(np.float32)


def crop_sides(pose: Float, skeleton: Skeleton, sigma: float) -> Float:
    """σ·diam(y) (…,) in pixels of poses (…, k, 2), equation (5)."""
    side: Float = np.float32(sigma) * torso_diameter(pose, skeleton)
    return side


def fit_displacements(
    examples: Sequence[Example],
    estimates: Float,
    skeleton: Skeleton,
    sigma: float,
    share: float = 1.0,
) -> Displacements:
    """Fit N_i to the errors y_i^{(s-1)} - y_i of ``estimates`` (n, draws, k, 2), pixels.

    ``share`` keeps the smallest errors only, so that a few exchanged limbs do not stretch the
    normals. A joint that is labelled too seldom gets the fit over all joints.
    """
    truth, labelled = truth_of(examples)
    sides = crop_sides(complete(truth[:, None], labelled[:, None], estimates), skeleton, sigma)
    errors = (estimates - truth[:, None]) / sides[..., None, None]
    known = np.broadcast_to(labelled[:, None], estimates.shape[:3])
    means, covariances = [], []
    for joint in range(len(skeleton)):
        e = errors[..., joint, :][known[..., joint]]
        if len(e) < 3:
            e = errors[known]
        length = np.linalg.norm(e, axis=-1)
        e = e[length <= np.quantile(length, share)].astype(np.float64)
        means.append(e.mean(0))
        covariances.append(np.cov(e.T, bias=True) if len(e) > 1 else np.zeros((2, 2)))
    return Displacements(np.array(means, np.float32), np.array(covariances, np.float32))
