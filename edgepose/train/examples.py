"""Annotated persons held in memory, and the order in which training sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from edgepose.data.records import Pictures, Record, load_records, set_skeleton
from edgepose.errors import DataError
from edgepose.geometry import box_iou
from edgepose.skeleton import Skeleton
from edgepose.train.distributed import Processes
from edgepose.types import Float, Image

_SAME = 0.45  # IoU of a detector's box with the true one from which it is this person's


@dataclass
class Example:
    """One annotated person: picture (H, W, 3) uint8 BGR; joints (k, 2) pixels; box (4,) pixels.

    ``found`` (4,) is the detector's box of this person, where there is one.
    """

    picture: Image
    joints: Float
    labelled: NDArray[np.bool_]
    box: Float
    weight: float
    found: Float | None = None


def load_examples(
    path: Path, split: str, skeleton: Skeleton, share: float = 1.0, full: bool = False
) -> list[Example]:
    """Decode the persons of an annotation file, or a fixed random ``share`` of them.

    Joints are those of ``skeleton``, found in the set's own by their names; persons of whom none is
    labelled are left out. ``full``: b⁰ is the whole picture. Weights of machine-labelled sets are
    not comparable with those of people's labels, so they are divided by the share of joints that
    are labelled (a person who is cut off is not therefore labelled wrongly) and by their set's
    mean, and are at most 1. DataError on bad data.
    """
    own = set_skeleton(path)
    order = skeleton.indices_in(own)
    if (order < 0).all():
        raise DataError(
            f"{path} has the skeleton {own.name}, which shares no joint with {skeleton.name}; "
            "choose another --skeleton"
        )
    records = load_records(path, split)
    if share < 1:
        chosen = np.random.default_rng(0).permutation(len(records))
        records = [records[i] for i in sorted(chosen[: round(share * len(records))])]
    mean = float(np.mean([_trust(r) for r in records])) if records else 1.0
    with Pictures(path) as pictures:
        found = [_example(r, pictures.decode(r.image), mean, order, full) for r in records]
    return [example for example in found if example.labelled.any()]


def _trust(record: Record) -> float:
    return record.weight / max(float(record.labelled.mean()), 1e-3)


def _example(
    record: Record, picture: Image, mean: float, order: NDArray[np.intp], full: bool
) -> Example:
    weight = record.weight if record.label == "human" else min(1.0, _trust(record) / mean)
    box, found = record.truth_box, None
    if record.boxes:
        boxes = np.array(record.boxes, np.float32)[:, :4]
        overlap = box_iou(box[None], boxes)[0]
        if overlap.max() > _SAME:
            found = boxes[overlap.argmax()]
    if full:
        found = None
        box = np.array([0, 0, picture.shape[1], picture.shape[0]], np.float32)
    labelled = record.labelled[order] & (order >= 0)
    joints = np.where(labelled[:, None], record.points[order], 0).astype(np.float32)
    return Example(picture, joints, labelled, box, weight, found)


def truth_of(examples: Sequence[Example]) -> tuple[Float, NDArray[np.bool_]]:
    """Joints (n, k, 2) in pixels and which of them are labelled (n, k)."""
    joints = np.stack([example.joints for example in examples])
    return joints, np.stack([example.labelled for example in examples])


class EpochSampler(Sampler[tuple[int, int]]):
    """Endless keys (draw, index) of this process: each epoch a new shuffle of ``repeats``.

    ``repeats`` (n,) says how often an epoch sees each example; ``draw`` counts how often an example
    was seen before, so that its augmentation is told by the key alone. Batch t holds the same
    ``batch`` keys whatever the number of processes: together they see every epoch exactly once.
    """

    def __init__(
        self,
        repeats: Sequence[int],
        seed: int,
        batch: int,
        step: int = 0,
        processes: Processes | None = None,
    ) -> None:
        processes = processes or Processes()
        times = np.asarray(repeats)
        self.index = np.repeat(np.arange(len(times)), times)
        self.again = np.arange(len(self.index)) - np.repeat(np.cumsum(times) - times, times)
        self.times, self.seed, self.step = times, seed, step
        self.batch, self.share = batch, processes.share(batch)
        self.first = processes.rank * self.share

    def __iter__(self) -> Iterator[tuple[int, int]]:
        place = self.step * self.batch
        epoch, order = -1, np.empty(0, np.intp)
        while True:
            for own in range(place + self.first, place + self.first + self.share):
                if own // len(self.index) != epoch:
                    epoch = own // len(self.index)
                    order = np.random.default_rng((self.seed, epoch)).permutation(len(self.index))
                entry = order[own % len(self.index)]
                index = int(self.index[entry])
                yield epoch * int(self.times[index]) + int(self.again[entry]), index
            place += self.batch
