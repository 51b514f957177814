"""Crops with something in the way: parts covered, a neighbour beside, the frame's edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float


def erase_parts(crops: Float, rng: np.random.Generator) -> Float:
    """Cover one to three rectangles of a crop (1, 3, S, S) by a colour: limbs get hidden.

    Random erasing (Zhong et al. 2020); what is hidden must be told from the rest of the body.
    """
    size = crops.shape[-1]
    crops = crops.copy()
    for _ in range(rng.integers(1, 4)):
        sides = (size * rng.uniform(0.08, 0.35, 2)).astype(int)
        y, x = rng.integers(0, size - sides)
        colour = rng.uniform(-1, 1, (3, 1, 1)).astype(np.float32)
        crops[0, :, y : y + sides[0], x : x + sides[1]] = colour
    return crops


def put_beside(crops: Float, other: Float, low: float, high: float) -> Float:
    """Cover what lies left or right of a person by a strip of another person's crop.

    Both (1, 3, S, S). ``low`` and ``high`` bound the person's joints, x in sides of the crop from
    its left edge; the strip keeps off them and is at most 0.4 wide. The person in the middle must
    be told from a neighbour (after CutMix, Yun et al. 2019, but the labels stay the person's).
    """
    size = crops.shape[-1]
    left, right = (int(size * np.clip(room - 0.02, 0, 0.4)) for room in (low, 1 - high))
    crops, start = crops.copy(), (size - max(left, right)) // 2
    if left > right:
        crops[..., :left] = other[..., start : start + left]
    elif right > 0:
        crops[..., size - right :] = other[..., start : start + right]
    return crops


def cut_off(
    crops: Float, points: Float, rng: np.random.Generator
) -> tuple[Float, NDArray[np.bool_]]:
    """End the frame inside a crop (1, 3, S, S): one side becomes border, as wide as 0.08 to 0.35.

    ``points`` (k, 2) in [-0.5, 0.5] of the crop; also gives which of them are still in the picture.
    """
    size = crops.shape[-1]
    width = int(size * rng.uniform(0.08, 0.35))
    side = int(rng.integers(4))
    turned = np.rot90(crops, side, (2, 3)).copy()
    turned[..., :width] = 0
    x, y = (points + 0.5).T * size
    distance = (x, y, size - x, size - y)[side]
    return np.rot90(turned, -side, (2, 3)), distance >= width
