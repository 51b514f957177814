"""Boxes and coordinates of the cascade, in the notation of DeepPose (Toshev & Szegedy, CVPR 2014).

Coordinates are continuous pixels: pixel i covers [i, i+1). Boxes are float32 edges
``(x0, y0, x1, y1)``. Every function is batched over its leading axes and pure NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgepose.skeleton import Skeleton
from edgepose.types import Float

MAX_SIDE = 8192.0
"""Longest side of a joint's box, pixels: an absurd pose must not make its crops slow."""

TORSO_FLOOR = 0.2
"""Least torso diameter of a pose, as a share of the larger side of its extent."""


def centre_and_size(boxes: ArrayLike) -> tuple[Float, Float]:
    """``b = (b_c, b_w, b_h)``: boxes (..., 4) to centres (..., 2) and sizes (..., 2)."""
    b = np.asarray(boxes, np.float32)
    return (b[..., :2] + b[..., 2:]) * np.float32(0.5), b[..., 2:] - b[..., :2]


def boxes_around(centres: ArrayLike, sizes: ArrayLike) -> Float:
    """Inverse of :func:`centre_and_size`; sizes (..., 2), or (..., 1) for squares; pixels."""
    c, half = np.asarray(centres, np.float32), np.asarray(sizes, np.float32) / 2
    return np.concatenate((c - half, c + half), axis=-1)


def normalise(points: ArrayLike, boxes: ArrayLike) -> Float:
    """``N(y; b) = ((x - b_cx) / b_w, (y - b_cy) / b_h)``, equation (1).

    ``points`` (..., m, 2) in pixels and ``boxes`` (..., 4) give (..., m, 2); the box is
    [-0.5, 0.5] in both directions.
    """
    centre, size = centre_and_size(boxes)
    return (np.asarray(points, np.float32) - centre[..., None, :]) / size[..., None, :]


def denormalise(points: ArrayLike, boxes: ArrayLike) -> Float:
    """``N⁻¹(y; b)``, equation (1) undone: normalised (..., m, 2) to pixels (..., m, 2)."""
    centre, size = centre_and_size(boxes)
    return np.asarray(points, np.float32) * size[..., None, :] + centre[..., None, :]


def square_boxes(boxes: ArrayLike, margin: float) -> Float:
    """Squares with the boxes' centres and ``margin`` times their longer side: ``b⁰`` of stage 1.

    ``boxes`` (..., 4) tight around the person, pixels. The paper enlarges the detection likewise.
    """
    centre, size = centre_and_size(boxes)
    return boxes_around(centre, size.max(-1, keepdims=True) * np.float32(margin))


def torso_diameter(joints: ArrayLike, skeleton: Skeleton, floor: float = TORSO_FLOOR) -> Float:
    """``diam(y)`` of section 3.2: the distance of two opposing torso joints, pixels.

    ``joints`` (..., k, 2) give (...,). The larger of the two shoulder - opposite hip diagonals, so
    that a person seen from the side, whose one diagonal shrinks, keeps a usable size. It never
    degenerates: the least value is ``floor`` of the larger side of the pose's extent, then 1 pixel.
    Of a skeleton without torso pairs it is the larger side of the extent.
    """
    y = np.asarray(joints, np.float32)
    extent = (y.max(-2) - y.min(-2)).max(-1)
    if not skeleton.torso:
        return np.asarray(np.maximum(extent, np.float32(1)), np.float32)
    ends = y[..., skeleton.torso_index, :]
    diagonal = np.linalg.norm(ends[..., 0, :] - ends[..., 1, :], axis=-1).max(-1)
    size: Float = np.maximum(np.maximum(diagonal, np.float32(floor) * extent), np.float32(1))
    return size


def joint_boxes(joints: ArrayLike, skeleton: Skeleton, sigma: float) -> Float:
    """``b_i = (y_i, σ·diam(y), σ·diam(y))``, equation (5): one square per joint.

    ``joints`` (..., k, 2) pixels give (..., k, 4) pixels. No side is longer than ``MAX_SIDE``.
    """
    y = np.asarray(joints, np.float32)
    side = np.minimum(np.float32(sigma) * torso_diameter(y, skeleton), np.float32(MAX_SIDE))
    return boxes_around(y, side[..., None, None])


def refine(joints: ArrayLike, displacements: ArrayLike, boxes: ArrayLike) -> Float:
    """``y_i^s = y_i^{s-1} + N⁻¹(ψ_i(N(x; b_i); θ_s); b_i)`` less the centre, equation (6).

    ``joints`` (..., k, 2) pixels, ``displacements`` (..., k, 2) in units of the side of ``b_i``,
    ``boxes`` (..., k, 4) pixels; gives (..., k, 2) pixels. The crop is ``b_i^{s-1}``.
    """
    _, size = centre_and_size(boxes)
    return np.asarray(joints, np.float32) + np.asarray(displacements, np.float32) * size


def person_boxes(joints: ArrayLike, grow: float = 1.25) -> Float:
    """Boxes tight around persons, from their joints: the extent, ``grow`` times as large.

    ``joints`` (..., k, 2) pixels give (..., 4). Joints end at wrists, ankles and eyes or crown;
    hands, feet and clothes reach further. No side is less than 0.3 of the other, or than a pixel.
    """
    y = np.asarray(joints, np.float32)
    low, high = y.min(-2), y.max(-2)
    size = (high - low) * np.float32(grow)
    least = np.maximum(np.float32(0.3) * size.max(-1, keepdims=True), np.float32(1))
    size = np.maximum(size, least)
    return boxes_around((low + high) / 2, size)


def box_iou(a: ArrayLike, b: ArrayLike) -> Float:
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m) in [0, 1], 0 for empty boxes."""
    p, q = np.asarray(a, np.float32), np.asarray(b, np.float32)
    low = np.maximum(p[:, None, :2], q[None, :, :2])
    high = np.minimum(p[:, None, 2:4], q[None, :, 2:4])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_p = np.prod(p[:, 2:4] - p[:, :2], axis=-1)
    area_q = np.prod(q[:, 2:4] - q[:, :2], axis=-1)
    union = area_p[:, None] + area_q[None, :] - inter
    iou: Float = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou
