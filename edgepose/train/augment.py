"""Augmentation of training crops: turned, coloured, partly covered, mirrored.

Crops are cut by the same kernel as at run time (:func:`edgepose.crop.crop`). A rotation is an
affine warp of the neighbourhood before it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.skeleton import Skeleton
from edgepose.train.recipe import Augment
from edgepose.types import Float

MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)


def draw_rotation(augment: Augment, rng: np.random.Generator) -> float:
    """Degrees to turn by; 0 in a fifth of the draws, and always where ``augment`` does not turn."""
    if not augment.rotate or rng.random() >= 0.8:
        return 0.0
    if rng.random() < augment.any_rotation:
        return float(rng.uniform(-180, 180))
    return float(rng.normal(0, augment.rotate))


def rotate_about(
    picture: NDArray[np.uint8], centre: Float, reach: float, degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Turn the square of half side ``reach`` about ``centre``; gives it and the 2x3 pixel map."""
    side = max(2, int(np.ceil(2 * reach)))
    middle = (float(centre[0]), float(centre[1]))
    turn = np.asarray(cv2.getRotationMatrix2D(middle, degrees, 1.0), np.float64)
    turn[:, 2] += side / 2 - centre
    # getRotationMatrix2D and warpAffine index pixel centres; joints are continuous (centre + 0.5).
    warp = turn.copy()
    warp[:, 2] += turn[:, :2] @ np.array([0.5, 0.5]) - 0.5
    turned = cv2.warpAffine(picture, warp, (side, side), flags=cv2.INTER_LINEAR, borderValue=MEAN)
    return np.asarray(turned, np.uint8), turn


def colour_jitter(crops: Float, rng: np.random.Generator, strength: float) -> Float:
    """Brightness, contrast, tint and sometimes grey, alike for all crops (n, 3, h, w)."""
    if strength <= 0:
        return crops
    gain = np.exp(rng.normal(0, 0.2 * strength)) * np.exp(rng.normal(0, 0.06 * strength, 3))
    shift = rng.normal(0, 0.15 * strength)
    if rng.random() < 0.1 * strength:
        crops = np.broadcast_to(crops.mean(1, keepdims=True), crops.shape)
    jittered = crops * gain[:, None, None].astype(np.float32) + np.float32(shift)
    return np.asarray(np.clip(jittered, -1, 1), np.float32)


def flip_crops(
    crops: Float, points: Float, labelled: NDArray[np.bool_], skeleton: Skeleton
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Mirror crops (n, 3, h, w) and normalised points (k, 2), exchanging left and right joints."""
    order = skeleton.flip
    return crops[..., ::-1], (points * np.array([-1, 1], np.float32))[order], labelled[order]
