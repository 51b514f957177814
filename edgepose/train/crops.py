"""The crops that stages train on: D_N of the whole person, D_A^s of joints (section 3.2).

Items are asked for by (draw, index): how often the example was seen before, and which it is. With
``draws`` of the recipe there are that many crops of each example, each as it is and mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from edgepose.crop import crop
from edgepose.geometry import boxes_around, centre_and_size, joint_boxes, normalise, square_boxes
from edgepose.skeleton import Skeleton
from edgepose.train.augment import (
    MEAN,
    STD,
    colour_jitter,
    draw_rotation,
    flip_crops,
    rotate_about,
)
from edgepose.train.displacements import complete, crop_sides, fit_displacements
from edgepose.train.examples import Example
from edgepose.train.occlusion import cut_off, erase_parts, put_beside
from edgepose.train.recipe import StageRecipe
from edgepose.types import Float, Image

Item = dict[str, Any]
_MIDDLE = 0.95  # of the errors, to which "mixed" displacements are fitted


def _draw(
    seed: int, draw: int, index: int, salt: int, recipe: StageRecipe
) -> tuple[np.random.Generator, bool]:
    """The generator of one crop, and whether it is mirrored."""
    draws, flip = recipe.draws, recipe.augment.flip
    if draws:
        # A crop and its mirror image follow each other; half of each pass over the examples is
        # mirrored, or the first ``draws`` passes would know one side alone.
        each = 2 if flip else 1
        rng = np.random.default_rng((seed, draw // each % draws, index, salt))
        return rng, flip and (draw + index) % 2 == 1
    rng = np.random.default_rng((seed, draw, index, salt))
    return rng, flip and bool(rng.random() < 0.5)


class HolisticCrops(Dataset[Item]):
    """``D_N``: moved, scaled and turned crops of the person, or of the full picture."""

    def __init__(
        self,
        examples: Sequence[Example],
        skeleton: Skeleton,
        recipe: StageRecipe,
        size: int,
        seed: int,
    ) -> None:
        self.examples, self.skeleton, self.recipe = examples, skeleton, recipe
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """crop (3, S, S); target (k, 2) normalised by the box; labelled, inside (k,); weight ()."""
        a = self.recipe.augment
        rng, mirrored = _draw(self.seed, *key, 0, self.recipe)
        crops, points, labelled = self._cut(self.examples[key[1]], rng, mirrored)
        if rng.random() < a.neighbour:
            inside = points[labelled & (np.abs(points) < 0.5).all(-1), 0] + 0.5
            if len(inside):
                another = self.examples[int(rng.integers(len(self.examples)))]
                other = self._cut(another, rng, bool(rng.random() < 0.5))[0]
                crops = put_beside(crops, other, float(inside.min()), float(inside.max()))
        if rng.random() < a.cut:
            crops, kept = cut_off(crops, points, rng)
            labelled = labelled & kept
        if rng.random() < a.erase:
            crops = erase_parts(crops, rng)
        inside = labelled & (np.abs(points) < 0.5).all(-1)
        return {
            "crop": np.ascontiguousarray(crops[0], np.float32),
            "target": np.where(labelled[:, None], points, 0).astype(np.float32),
            "labelled": labelled.astype(np.float32),
            "inside": inside.astype(np.float32),
            "weight": np.float32(self.examples[key[1]].weight),
        }

    def _cut(
        self, example: Example, rng: np.random.Generator, mirrored: bool
    ) -> tuple[Float, Float, NDArray[np.bool_]]:
        """A crop (1, 3, S, S), the joints (k, 2) in it and which are labelled."""
        a, around = self.recipe.augment, example.box
        if example.found is not None and rng.random() < a.detected:
            around = example.found
        centre, size = centre_and_size(square_boxes(around, self.recipe.extent))
        side = float(size[0]) * _stretch(rng, a.scale)
        centre = centre + rng.normal(0, a.shift, 2).astype(np.float32) * size
        picture, joints = example.picture, example.joints
        degrees = draw_rotation(a, rng)
        if degrees:
            picture, turn = rotate_about(picture, centre, side * 0.72, degrees)
            joints = (joints @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
            centre = np.array([picture.shape[1] / 2, picture.shape[0] / 2], np.float32)
        box = boxes_around(centre, np.array([side]))
        crops = _cut(picture, box[None], self.size)
        points, labelled = normalise(joints, box), example.labelled
        if mirrored:
            crops, points, labelled = flip_crops(crops, points, labelled, self.skeleton)
        return colour_jitter(crops, rng, a.colour), points, labelled


class RefineCrops(Dataset[Item]):
    """``D_A^s``, equation (8): crops of side σ·diam about y_i + δ, and how far off y_i then is.

    ``estimates`` (n, e, k, 2) pixels are the earlier stages' own on the examples. By the recipe's
    ``displacements`` δ is drawn from the normal fitted per joint to their errors, is one of these
    errors as it came (exchanged limbs and all), or, "mixed", either, half of the time each.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        estimates: Float,
        skeleton: Skeleton,
        recipe: StageRecipe,
        size: int,
        seed: int,
    ) -> None:
        self.examples, self.estimates, self.skeleton = examples, estimates, skeleton
        self.recipe, self.size, self.seed = recipe, size, seed
        share = _MIDDLE if recipe.displacements == "mixed" else 1.0
        self.normal = fit_displacements(examples, estimates, skeleton, recipe.extent, share)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """crop (m, 3, S, S), target (m, 2) in sides of the crop, inside, labelled, joint (m,)."""
        draw, index = key
        example, a = self.examples[index], self.recipe.augment
        rng, mirrored = _draw(self.seed, draw, index, 1, self.recipe)
        truth = example.joints
        pose, boxes = self._displaced(example, index, rng)
        picture, degrees = example.picture, draw_rotation(a, rng)
        if degrees:
            low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
            reach = min(float((high - low).max()) / 2, 1.5 * max(picture.shape[:2]))
            picture, turn = rotate_about(picture, (low + high) / 2, reach, degrees)
            truth, pose = (
                (p @ turn[:, :2].T + turn[:, 2]).astype(np.float32) for p in (truth, pose)
            )
            boxes = boxes_around(pose, centre_and_size(boxes)[1])
        centres, sizes = centre_and_size(boxes)
        sizes = sizes * np.float32(_stretch(rng, 0.6 * a.scale))
        count = self.recipe.crops
        chosen = np.resize(rng.permutation(np.flatnonzero(example.labelled)), count)
        crops = _cut(picture, boxes_around(centres, sizes)[chosen], self.size)
        target, joint = ((truth - centres) / sizes)[chosen], chosen
        if mirrored:
            crops, target = crops[..., ::-1], target * np.array([-1, 1], np.float32)
            joint = self.skeleton.flip[chosen]
        return {
            "crop": np.ascontiguousarray(colour_jitter(crops, rng, a.colour), np.float32),
            "target": target.astype(np.float32),
            "inside": (np.abs(target) < 0.5).all(-1).astype(np.float32),
            "labelled": np.ones(count, np.float32),
            "joint": joint.astype(np.int64),
            "weight": np.full(count, example.weight, np.float32),
        }

    def _displaced(
        self, example: Example, index: int, rng: np.random.Generator
    ) -> tuple[Float, Float]:
        """Where the joints' crops lie: the displaced pose (k, 2), and the crops' boxes (k, 4)."""
        pose = self.estimates[index, rng.integers(self.estimates.shape[1])]
        kind = self.recipe.displacements
        if kind == "errors" or (kind == "mixed" and rng.random() < 0.5):
            return pose, joint_boxes(pose, self.skeleton, self.recipe.extent)
        whole = complete(example.joints, example.labelled, pose)
        side = crop_sides(whole, self.skeleton, self.recipe.extent)
        drawn = whole + side * self.normal.draw(rng)
        pose = complete(drawn, example.labelled, pose)
        return pose, boxes_around(pose, side[None, None])


def _stretch(rng: np.random.Generator, sigma: float) -> float:
    """A factor on a side, log-normal, at most two sigmas away."""
    return float(np.exp(np.clip(rng.normal(0, sigma), -2 * sigma, 2 * sigma)))


def _cut(picture: Image, boxes: Float, size: int) -> Float:
    return np.asarray(crop(picture, boxes.astype(np.float32), size, mean=MEAN, std=STD), np.float32)
