"""The cascade of DeepPose (Toshev & Szegedy, CVPR 2014, section 3) over any backend."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.backends import Backend
from edgepose.bundle import Bundle, StageSpec
from edgepose.crop import crop, info
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.types import Float, Poses


class HostCascade:
    """A bundle's stages on a backend: ``poses = cascade(frame, boxes)``."""

    def __init__(self, bundle: Bundle, backend: Backend, stages: int | None = None) -> None:
        """Load the first ``stages`` networks (None: all)."""
        self.bundle, self.skeleton = bundle, bundle.skeleton
        self.backend = backend.name
        self.specs = bundle.manifest.stages[:stages]
        self.networks = [
            backend.load(bundle, f"stage{number}") for number in range(1, len(self.specs) + 1)
        ]
        crops = f"crops on the CPU ({info().path})"
        self.description = f"{bundle.name} on {backend.name}, {backend.precision}, {crops}"

    def __call__(self, frame: NDArray[np.uint8], boxes: ArrayLike) -> Poses:
        """Estimate the pose of every person.

        ``frame`` (H, W, 3) uint8 BGR; ``boxes`` (P, 4) or (P, 5) edges x0, y0, x1, y1 in pixels,
        tight around the person. ValueError if a box is not finite or empty.
        """
        b = _checked(boxes)
        poses = Poses([], [])
        if len(b) == 0:
            k = len(self.skeleton)
            poses.stages = [np.zeros((0, k, 2), np.float32) for _ in self.specs]
            poses.stage_scores = [np.zeros((0, k), np.float32) for _ in self.specs]
            return poses
        # Stage 1: y¹ = N⁻¹(ψ(N(x; b⁰); θ_1); b⁰)
        b0 = square_boxes(b, self.specs[0].extent)
        points, scores = self._network(1, self._crop(frame, b0, self.specs[0], poses), poses)
        y = denormalise(points, b0)
        self._keep(poses, y, scores)
        for s, spec in enumerate(self.specs[1:], 2):
            # Stage s: b_i = (y_i, σ·diam(y), σ·diam(y)), y_i += ψ_i(N(x; b_i); θ_s)·side
            b_i = joint_boxes(y, self.skeleton, spec.extent)
            crops = self._crop(frame, b_i.reshape(-1, 4), spec, poses)
            displacements, scores = self._network(s, crops, poses)
            y = refine(y, displacements.reshape(y.shape), b_i)
            self._keep(poses, y, scores.reshape(y.shape[:2]))
        return poses

    def _crop(self, frame: NDArray[np.uint8], boxes: Float, spec: StageSpec, poses: Poses) -> Float:
        """``N(x; b)``: every box cut from the frame and normalised, one kernel call."""
        start = time.perf_counter()
        pixels = self.bundle.manifest.pixels
        crops = crop(frame, boxes, spec.size, scale=pixels.scale, mean=pixels.mean, std=pixels.std)
        poses.seconds["crop"] = poses.seconds.get("crop", 0.0) + time.perf_counter() - start
        return np.asarray(crops, np.float32)

    def _network(self, stage: int, crops: Float, poses: Poses) -> tuple[Float, Float]:
        """``ψ(·; θ_s)``: positions or displacements, and scores."""
        start = time.perf_counter()
        points, scores = self.networks[stage - 1](crops)
        poses.seconds[f"stage {stage}"] = time.perf_counter() - start
        return points, scores

    @staticmethod
    def _keep(poses: Poses, y: Float, scores: Float) -> None:
        poses.stages.append(y)
        poses.stage_scores.append(scores)


def _checked(boxes: ArrayLike) -> Float:
    with np.errstate(over="ignore"):  # too large for float32: infinite, hence refused below
        b = np.asarray(boxes, np.float32)
    if b.size == 0:
        return np.zeros((0, 4), np.float32)
    if b.ndim != 2 or b.shape[1] not in (4, 5):
        raise ValueError(f"boxes must be (P, 4), not {b.shape}")
    b = b[:, :4]
    if not (np.isfinite(b).all() and (b[:, 2:] > b[:, :2]).all()):
        raise ValueError("boxes must be finite with x0 < x1 and y0 < y1")
    return b
