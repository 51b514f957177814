"""Annotated persons held in memory, and the augmented crops that stages train on.

Crops are cut by the same kernel as at run time (:func:`edgepose.crop.crop`). A rotation is an
affine warp of the neighbourhood before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from edgepose.crop import crop
from edgepose.data.records import Pictures, Record, load_records
from edgepose.geometry import box_iou, centre_and_size, joint_boxes, normalise, square_boxes
from edgepose.skeleton import LSP14
from edgepose.train.occlusion import cut_off, erase_parts, put_beside

_SAME = 0.45  # IoU of a detector's box with the true one from which it is this person's
MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)
Array = NDArray[np.float32]


@dataclass
class Person:
    """One training person: picture (H, W, 3) uint8 BGR; joints (k, 2) pixels; box (4,) pixels.

    ``found`` (4,) is the detector's box of this person, where there is one.
    """

    picture: NDArray[np.uint8]
    joints: Array
    labelled: NDArray[np.bool_]
    box: Array
    weight: float
    found: Array | None = None


def load_persons(path: Path, split: str = "train", share: float = 1.0) -> list[Person]:
    """Decode the persons of an annotation file, or a fixed random ``share`` of them.

    Weights of machine-labelled sets are not comparable with those of people's labels, so they are
    divided by the share of joints that are labelled (a person who is cut off is not therefore
    labelled wrongly) and by their set's mean, and are at most 1. DataError on bad data.
    """
    records = load_records(path, split)
    if share < 1:
        order = np.random.default_rng(0).permutation(len(records))
        records = [records[i] for i in sorted(order[: round(share * len(records))])]
    mean = float(np.mean([_trust(r) for r in records]))
    with Pictures(path) as pictures:
        return [_person(r, pictures.decode(r.image), mean) for r in records]


def _trust(record: Record) -> float:
    return record.weight / max(float(record.labelled.mean()), 1e-3)


def _person(record: Record, picture: NDArray[np.uint8], mean: float) -> Person:
    weight = record.weight if record.label == "human" else min(1.0, _trust(record) / mean)
    box, found = record.truth_box, None
    if record.boxes:
        boxes = np.array(record.boxes, np.float32)[:, :4]
        overlap = box_iou(box[None], boxes)[0]
        if overlap.max() > _SAME:
            found = boxes[overlap.argmax()]
    return Person(picture, record.points, record.labelled, box, weight, found)


@dataclass(frozen=True)
class Augment:
    """Strength of the augmentation: rotation (degrees, one sigma; and share drawn from the whole
    circle), log scale, shift (share of the box), colour; shares of crops with erased parts, with a
    neighbour put beside, cut off as by the frame, and cut about the detector's box."""

    rotate: float = 22.0
    any_rotation: float = 0.1
    scale: float = 0.25
    shift: float = 0.07
    flip: bool = True
    colour: float = 1.0
    erase: float = 0.0
    neighbour: float = 0.0
    cut: float = 0.0
    detected: float = 0.0

    def degrees(self, rng: np.random.Generator) -> float:
        """Draw a rotation."""
        if rng.random() < self.any_rotation:
            return float(rng.uniform(-180, 180))
        return float(rng.normal(0, self.rotate))


def rotate_about(
    picture: NDArray[np.uint8], centre: Array, reach: float, degrees: float
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


def colour_jitter(crops: Array, rng: np.random.Generator, strength: float) -> Array:
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
    crops: Array, points: Array, labelled: NDArray[np.bool_]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Mirror crops (n, 3, h, w) and normalised points (k, 2), exchanging left and right joints."""
    order = LSP14.flip
    return crops[..., ::-1], (points * np.array([-1, 1], np.float32))[order], labelled[order]


class StageOneData(Dataset[dict[str, Array]]):
    """Augmented person crops for stage 1. Items are asked for by (epoch, index)."""

    def __init__(
        self, persons: Sequence[Person], size: int, margin: float, augment: Augment, seed: int
    ):
        self.persons, self.size, self.margin = persons, size, margin
        self.augment, self.seed = augment, seed

    def __len__(self) -> int:
        return len(self.persons)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Array]:
        """crop (3, S, S), target (k, 2) normalised by the box, mask (k,), weight ()."""
        epoch, index = key
        a = self.augment
        rng = np.random.default_rng((self.seed, epoch, index))
        crops, points, labelled = self._cut(self.persons[index], rng)
        if rng.random() < a.neighbour:
            inside = points[labelled & (np.abs(points) < 0.5).all(-1), 0] + 0.5
            if len(inside):
                other = self._cut(self.persons[int(rng.integers(len(self.persons)))], rng)[0]
                crops = put_beside(crops, other, float(inside.min()), float(inside.max()))
        if rng.random() < a.cut:
            crops, kept = cut_off(crops, points, rng)
            labelled = labelled & kept
        if rng.random() < a.erase:
            crops = erase_parts(crops, rng)
        inside = labelled & (np.abs(points) < 0.5).all(-1)
        return {
            "crop": np.ascontiguousarray(crops[0], np.float32),
            "target": points.astype(np.float32),
            "mask": inside.astype(np.float32),
            "weight": np.float32(self.persons[index].weight),
        }

    def _cut(
        self, person: Person, rng: np.random.Generator
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """An augmented crop (1, 3, S, S), the joints (k, 2) in it and which are labelled."""
        a = self.augment
        around = person.box
        if person.found is not None and rng.random() < a.detected:
            around = person.found
        centre, size = centre_and_size(square_boxes(around, self.margin))
        side = float(size[0]) * np.exp(np.clip(rng.normal(0, a.scale), -2 * a.scale, 2 * a.scale))
        centre = centre + rng.normal(0, a.shift, 2).astype(np.float32) * size
        picture, joints = person.picture, person.joints
        if a.rotate and rng.random() < 0.8:
            picture, turn = rotate_about(picture, centre, side * 0.72, a.degrees(rng))
            joints = (joints @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
            centre = np.array([picture.shape[1] / 2, picture.shape[0] / 2], np.float32)
        box = np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float32)
        crops = crop(picture, box[None], self.size, mean=MEAN, std=STD)
        points, labelled = normalise(joints, box), person.labelled
        if a.flip and rng.random() < 0.5:
            crops, points, labelled = flip_crops(crops, points, labelled)
        return colour_jitter(crops, rng, a.colour), points, labelled


class RefineData(Dataset[dict[str, Array]]):
    """``D_A^s`` of section 3.2: crops around displaced joints, and how far off they are.

    ``estimates`` (persons, draws, k, 2) pixels are the previous stages' own estimates on jittered
    boxes. A pose is, half of the time each, one of these (errors as they come, exchanged limbs and
    all), or the truth displaced by the normal fitted per joint to those errors, as in the paper.
    """

    def __init__(
        self,
        persons: Sequence[Person],
        estimates: Array,
        size: int,
        sigma: float,
        joints_per_person: int,
        augment: Augment,
        seed: int,
    ):
        self.persons, self.estimates, self.size, self.sigma = persons, estimates, size, sigma
        self.count, self.augment, self.seed = joints_per_person, augment, seed
        self.mean, self.std = fit_displacements(persons, estimates, sigma)

    def __len__(self) -> int:
        return len(self.persons)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Array]:
        """crops (m, 3, S, S), target (m, 2) in sides of the joint box, inside (m,), joint (m,)."""
        epoch, index = key
        person, a = self.persons[index], self.augment
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        pose = self.estimates[index, rng.integers(self.estimates.shape[1])].copy()
        truth, labelled = person.joints, person.labelled
        if rng.random() < 0.5:
            side = joint_boxes(pose, LSP14, self.sigma)
            side = (side[0, 2] - side[0, 0]).astype(np.float32)
            drawn = truth + side * (self.mean + self.std * rng.normal(size=truth.shape))
            pose = np.where(labelled[:, None], drawn, pose).astype(np.float32)
        picture = person.picture
        boxes = joint_boxes(pose, LSP14, self.sigma)
        if a.rotate and rng.random() < 0.8:
            low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
            centre = ((low + high) / 2).astype(np.float32)
            reach = min(float((high - low).max()) / 2, 1.5 * max(picture.shape[:2]))
            picture, turn = rotate_about(picture, centre, reach, a.degrees(rng))
            truth, pose = (
                (p @ turn[:, :2].T + turn[:, 2]).astype(np.float32) for p in (truth, pose)
            )
            boxes = joint_boxes(pose, LSP14, self.sigma)
        grow = np.exp(np.clip(rng.normal(0, 0.15), -0.3, 0.3))
        centres, sizes = centre_and_size(boxes)
        boxes = np.concatenate([centres - sizes * grow / 2, centres + sizes * grow / 2], -1)
        target = ((truth - centres) / (sizes * grow)).astype(np.float32)
        chosen = rng.permutation(np.flatnonzero(labelled))
        chosen = np.resize(chosen, self.count)
        crops = crop(picture, boxes[chosen].astype(np.float32), self.size, mean=MEAN, std=STD)
        target, joint = target[chosen], chosen
        if a.flip and rng.random() < 0.5:
            crops, target = crops[..., ::-1], target * np.array([-1, 1], np.float32)
            joint = LSP14.flip[chosen]
        crops = colour_jitter(crops, rng, a.colour)
        return {
            "crop": np.ascontiguousarray(crops, np.float32),
            "target": target.astype(np.float32),
            "mask": (np.abs(target) < 0.5).all(-1).astype(np.float32),
            "joint": joint.astype(np.int64),
            "weight": np.full(self.count, person.weight, np.float32),
        }


def fit_displacements(
    persons: Sequence[Person], estimates: Array, sigma: float
) -> tuple[Array, Array]:
    """Mean and deviation (k, 2) of each joint's error in sides of its box: ``N_i^{(s-1)}``.

    The paper's normals, fitted to the middle 95 % of the errors so that a few exchanged limbs do
    not stretch them.
    """
    truth = np.stack([p.joints for p in persons])[:, None]
    known = np.broadcast_to(np.stack([p.labelled for p in persons])[:, None], estimates.shape[:3])
    boxes = joint_boxes(estimates, LSP14, sigma)
    errors = (truth - estimates) / (boxes[..., 2:] - boxes[..., :2])
    means, deviations = [], []
    for joint in range(estimates.shape[2]):
        e = errors[..., joint, :][known[..., joint]]
        if len(e) == 0:  # a joint that these sets never label
            e = errors[known]
        length = np.linalg.norm(e, axis=-1)
        e = e[length <= np.quantile(length, 0.95)]
        means.append(e.mean(0))
        deviations.append(e.std(0))
    return np.array(means, np.float32), np.array(deviations, np.float32)


class EpochSampler(Sampler[tuple[int, int]]):
    """Endless (epoch, index) keys, each epoch a new shuffle, starting at sample ``start``."""

    def __init__(self, indices: NDArray[np.intp], seed: int, start: int = 0) -> None:
        self.indices, self.seed, self.start = indices, seed, start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, offset = divmod(self.start, len(self.indices))
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.indices)
            for index in order[offset:]:
                yield epoch, int(index)
            epoch, offset = epoch + 1, 0
