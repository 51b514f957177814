"""The persons of a set through the cascade: the estimate after each stage, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.host import HostCascade
from edgepose.data.records import Pictures, Record, skeleton_beside
from edgepose.errors import DataError
from edgepose.geometry import box_iou
from edgepose.people.detector import PersonDetector
from edgepose.skeleton import Skeleton
from edgepose.types import Float


@dataclass(frozen=True)
class Estimates:
    """n persons of one annotation file, k joints in the order of ``skeleton``; pixels.

    ``index`` and ``images`` (n,): line number, from 0, and picture. ``truth`` (n, k, 2) and
    ``labelled`` (n, k). ``stages`` (n, k, 2) and ``scores`` (n, k) after each stage, NaN for a
    person whom the detector missed. ``overlap`` (n,): IoU of the box used with the true box;
    ``boxes`` (n, 4): the true boxes; ``areas`` (n,): pixels of the persons, NaN where not known.
    """

    skeleton: Skeleton
    index: list[int]
    images: list[str]
    truth: Float
    labelled: NDArray[np.bool_]
    stages: list[Float]
    scores: list[Float]
    overlap: Float
    boxes: Float = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n,) True where there is an estimate."""
        return self.overlap > 0


def estimate(
    samples: Sequence[tuple[int, Record]],
    pictures: Pictures,
    cascade: HostCascade | DeviceCascade,
    detector: PersonDetector | None = None,
    advance: Callable[[int], None] = lambda persons: None,
) -> Estimates:
    """Run ``cascade`` on every person; ``samples`` are line numbers and records.

    The box is the record's own; with a ``detector``, the one of its boxes that overlaps the true
    box most, and a person whom no box overlaps is missed. Two persons may get the same box.
    ``advance`` is told how many persons each picture brought. DataError if a picture is missing,
    broken or not of the size that its record states.
    """
    skeleton, n = cascade.skeleton, len(samples)
    shape = (n, len(skeleton))
    stages = [np.full((*shape, 2), np.nan, np.float32) for _ in cascade.specs]
    scores = [np.full(shape, np.nan, np.float32) for _ in cascade.specs]
    overlap = np.ones(n, np.float32)
    places: dict[str, list[int]] = {}
    # The truth in the order of the bundle's skeleton; a joint that the data does not know is as if
    # nobody had labelled it.
    data = skeleton_beside(pictures.annotations, len(samples[0][1].joints))
    order = skeleton.indices_in(data)
    if (order < 0).all():
        raise DataError(
            f"{pictures.annotations} and the bundle, {skeleton.name}, share no joint; take a "
            "bundle of the data's skeleton"
        )
    for place, (_, record) in enumerate(samples):
        places.setdefault(record.image, []).append(place)
    for image, group in places.items():
        records = [samples[place][1] for place in group]
        picture = pictures.decode(image)
        _check_size(image, picture, records)
        boxes = np.stack([record.truth_box for record in records])
        chosen = np.array(group)
        if detector is not None:
            boxes, overlap[chosen] = _best(boxes, detector(picture)[:, :4])
            boxes, chosen = boxes[overlap[chosen] > 0], chosen[overlap[chosen] > 0]
        poses = cascade(picture, boxes)
        for s in range(len(stages)):
            stages[s][chosen], scores[s][chosen] = poses.stages[s], poses.stage_scores[s]
        advance(len(group))
    return Estimates(
        skeleton,
        [index for index, _ in samples],
        [record.image for _, record in samples],
        np.stack([record.points for _, record in samples])[:, order],
        np.stack([record.labelled for _, record in samples])[:, order] & (order >= 0),
        stages,
        scores,
        overlap,
        np.stack([record.truth_box for _, record in samples]),
        np.array([record.area for _, record in samples], np.float64),
    )


def _best(boxes: Float, found: Float) -> tuple[Float, Float]:
    """For each of ``boxes`` (n, 4) the best of ``found`` (m, 4), and their IoU, 0 if none."""
    if not len(found):
        return boxes, np.zeros(len(boxes), np.float32)
    iou = box_iou(boxes, found)
    return found[iou.argmax(1)], iou.max(1)


def _check_size(image: str, picture: NDArray[np.uint8], records: Sequence[Record]) -> None:
    height, width = picture.shape[:2]
    for record in records:
        if (record.width, record.height) != (width, height):
            raise DataError(
                f"{image} is {width} x {height} pixels, its annotation says "
                f"{record.width} x {record.height}; joints and picture do not belong together"
            )
