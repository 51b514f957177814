"""The detector's pictures and their labels: which boxes are persons, which are not to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.data.records import Pictures, Record, load_records, split_by_image
from edgepose.data.scenes import holds_scenes, load_scenes
from edgepose.geometry import box_iou
from edgepose.types import Float

SURE, UNSURE = 0.45, 0.35  # machine boxes: a person from SURE on, unknown from UNSURE on
_LONG_SIDE = 416  # pictures are kept at most this large


@dataclass(frozen=True)
class LabelledPicture:
    """One picture (H, W, 3) uint8 BGR with its persons and unsure regions, boxes (n, 4) pixels.

    ``annotated`` are the boxes of the persons that have joint labels, to measure recall on.
    ``whole``: a whole picture, not a crop around a person.
    """

    name: str
    picture: NDArray[np.uint8]
    persons: Float
    unsure: Float
    annotated: Float
    whole: bool = False


@dataclass(frozen=True)
class Patch:
    """A region of a source without persons: box (4,) pixels."""

    source: int
    box: Float


def box_rows(rows: ArrayLike) -> Float:
    """Boxes as an (n, 4) array, (0, 4) for none."""
    return np.array(rows, np.float32).reshape(-1, 4)


def overlap_share(a: Float, b: Float) -> Float:
    """Share of each box of ``a`` (n, 4) that lies inside each box of ``b`` (m, 4): (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = np.prod(np.clip(a[:, 2:] - a[:, :2], 1e-6, None), axis=-1)
    return np.asarray(inter / area[:, None], np.float32)


def label_boxes(records: Sequence[Record]) -> tuple[Float, Float]:
    """Persons (n, 4) and unsure regions (m, 4) of one picture, from all its records, in pixels.

    Machine boxes of a score from 0.45 on are persons. A labelled person whom none of them fits is
    added, in place of boxes of parts of him; with labels that are hardly to be trusted, as unsure.
    """
    first = records[0]
    machine = [b[:4] for b in first.boxes if b[4] >= SURE]
    unsure = [b[:4] for b in first.boxes if UNSURE <= b[4] < SURE]
    truth = [list(map(float, r.truth_box)) for r in records if r.weight >= 0.4]
    doubtful = [list(map(float, r.truth_box)) for r in records if r.weight < 0.4]
    truth += [list(b) for b in first.true_boxes]
    limits = np.array([first.width, first.height] * 2, np.float32)
    persons = np.clip(box_rows(machine), 0, limits)
    for row in truth:
        box = np.clip(box_rows(row), 0, limits)
        fits = box_iou(persons, box)[:, 0]
        # An annotated box is tighter than a machine's; one grown from joints is not.
        if (fits < 0.5).all() or first.true_box is not None:
            keep = (
                fits < 0.6
                if first.true_box is not None
                else overlap_share(persons, box)[:, 0] < 0.7
            )
            persons = np.concatenate((persons[keep], box))
    rest = np.clip(box_rows(unsure + doubtful), 0, limits)
    if len(persons) and len(rest):
        rest = rest[
            (box_iou(rest, persons) < 0.5).all(1) & (overlap_share(rest, persons) < 0.7).all(1)
        ]
    return persons, rest


def load_sources(sets: Sequence[Path | str], split: str) -> list[LabelledPicture]:
    """Decode all pictures of a split of several files, persons or scenes; about 2 GB for 15,000.

    A set without lines of ``split`` is skipped. Raises DataError naming file and line or picture.
    """
    sources: list[LabelledPicture] = []
    for path in sets:
        with Pictures(path) as pictures:
            if holds_scenes(path):
                for scene in (s for s in load_scenes(path) if s.split == split):
                    persons = scene.persons[:, :4]
                    picture = pictures.decode(scene.image)
                    sources.append(
                        _fitted(
                            LabelledPicture(
                                scene.image, picture, persons, scene.unsure, persons, True
                            )
                        )
                    )
                continue
            records = [r for r in load_records(path) if r.split == split]
            for name, group in split_by_image(records):
                picture = pictures.decode(name)
                persons, unsure = label_boxes(group)
                limits = np.tile(np.array(picture.shape[1::-1], np.float32), 2)
                annotated = np.clip(np.stack([r.truth_box for r in group]), 0, limits)
                sources.append(_fitted(LabelledPicture(name, picture, persons, unsure, annotated)))
    return sources


def _fitted(source: LabelledPicture) -> LabelledPicture:
    """The source, reduced if its picture is large."""
    factor = _LONG_SIDE / max(source.picture.shape[:2])
    if factor >= 1:
        return source
    h, w = (max(1, round(side * factor)) for side in source.picture.shape[:2])
    return replace(
        source,
        picture=np.asarray(cv2.resize(source.picture, (w, h), interpolation=cv2.INTER_AREA)),
        persons=source.persons * np.float32(factor),
        unsure=source.unsure * np.float32(factor),
        annotated=source.annotated * np.float32(factor),
    )


def free_patches(sources: Sequence[LabelledPicture], least: int = 40) -> list[Patch]:
    """Strips beside, above and below all persons of each source, at least ``least`` pixels wide.

    The whole picture of a source without persons.
    """
    patches = []
    for i, source in enumerate(sources):
        taken = np.concatenate((source.persons, source.unsure))
        h, w = source.picture.shape[:2]
        if len(taken) == 0:
            patches.append(Patch(i, np.array([0, 0, w, h], np.float32)))
            continue
        x0, y0 = taken[:, :2].min(0) - 4
        x1, y1 = taken[:, 2:].max(0) + 4
        for box in ((0, 0, x0, h), (x1, 0, w, h), (0, 0, w, y0), (0, y1, w, h)):
            if box[2] - box[0] >= least and box[3] - box[1] >= least:
                patches.append(Patch(i, np.array(box, np.float32)))  # noqa: PERF401
    return patches
