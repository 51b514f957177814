"""From a frame to the persons in it: detector, tracker, cascade and smoothing, in that order."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edgepose.geometry import person_boxes
from edgepose.people.detector import PersonDetector
from edgepose.people.smoothing import OneEuro
from edgepose.people.tracker import Tracker, TrackerOptions
from edgepose.types import Float, Image, Person, Poses


class PoseEstimator(Protocol):
    """The cascade: poses of the persons in boxes (P, 4)."""

    def __call__(self, frame: Image, boxes: Float, /) -> Poses:
        """Estimate."""
        ...


class Follower:
    """Persons with ids from the frames of one continuous source, in order."""

    def __init__(
        self,
        cascade: PoseEstimator,
        detector: PersonDetector,
        options: TrackerOptions | None = None,
        smooth: bool = True,
    ) -> None:
        self._cascade, self._detector = cascade, detector
        self._tracker = Tracker(options)
        self._smooth = OneEuro() if smooth else None

    def __call__(self, frame: Image, time: float) -> tuple[list[Person], dict[str, float]]:
        """Persons in ``frame`` (H, W, 3) uint8 BGR at ``time`` seconds, and the stages' seconds."""
        start = clock.perf_counter()
        seconds: dict[str, float] = {}
        found = None
        if self._tracker.wants_detector():
            found = self._detector(frame)
            seconds["detect"] = clock.perf_counter() - start
        boxes = self._tracker.propose(time, found)
        if not len(boxes):
            return [], seconds
        poses = self._cascade(frame, boxes)
        seconds.update(poses.seconds)
        size = (frame.shape[1], frame.shape[0])
        people = self._tracker.update(time, poses.joints, poses.scores, size)
        if self._smooth is not None and people:
            people = self._smooth(people, time)
            _fit_boxes(people)
        seconds["track"] = clock.perf_counter() - start - sum(seconds.values())
        return people, seconds


class Stills:
    """Persons in pictures that have nothing to do with each other; ids count within a picture."""

    def __init__(
        self,
        cascade: PoseEstimator,
        detector: PersonDetector,
        options: TrackerOptions | None = None,
    ) -> None:
        self._cascade, self._detector = cascade, detector
        self._options = options or TrackerOptions()

    def __call__(self, frame: Image, time: float) -> tuple[list[Person], dict[str, float]]:
        """Persons in ``frame`` (H, W, 3) uint8 BGR, surest first, and the stages' seconds."""
        start = clock.perf_counter()
        found = self._detector(frame)
        seconds = {"detect": clock.perf_counter() - start}
        found = found[found[:, 4] >= self._options.start_score][: self._options.max_persons]
        if not len(found):
            return [], seconds
        poses = self._cascade(frame, np.ascontiguousarray(found[:, :4]))
        seconds.update(poses.seconds)
        people: list[Person] = []
        for box, joints, scores in zip(found, poses.joints, poses.scores, strict=True):
            level = float(scores.mean())
            if not np.isfinite(joints).all() or not level >= self._options.min_score:
                continue
            score = min(1.0, float(np.sqrt(box[4] * level)))
            people.append(Person(len(people) + 1, box[:4], score, joints, scores))
        _fit_boxes(people)
        return people, seconds


def _fit_boxes(people: Sequence[Person]) -> None:
    if people:
        boxes = person_boxes(np.stack([p.joints for p in people]))
        for person, box in zip(people, boxes, strict=True):
            person.box = box
