"""One source's memory: which boxes to estimate in the next frame, and who came of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edgepose.geometry import person_boxes
from edgepose.people.options import TrackerOptions
from edgepose.people.smoothing import OneEuro
from edgepose.people.tracker import Tracker
from edgepose.skeleton import Skeleton
from edgepose.types import Float, Person

Size = tuple[int, int]


class Memory(Protocol):
    """What an estimator asks of a source's memory, frame by frame and in order."""

    @property
    def wants_detector(self) -> bool:
        """Whether the detector should look at the coming frame."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nobody is being followed, so that there is time to wait for the detector."""
        ...

    @property
    def one_by_one(self) -> bool:
        """Whether boxes come from the detector's look at the very same frame."""
        ...

    def look(self) -> None:
        """The detector looks at the coming frame."""
        ...

    def detected(self, time: float, found: Float, colours: Float | None = None) -> None:
        """``found`` (n, 5): boxes and scores, best first, of the frame at ``time`` seconds.

        ``colours`` (n, d): what they look like, see :func:`edgepose.people.appearance.appearance`;
        None where nobody knows.
        """
        ...

    def propose(self, time: float, found: Float | None = None) -> Float:
        """Boxes (P, 4) float32 in pixels to estimate in the frame at ``time``.

        ``found`` (n, 5) if the detector has looked at this very frame and is done.
        """
        ...

    def preview(self, time: float, joints: Float, scores: Float, size: Size) -> None:
        """Stage 1's joints (P, k, 2) and scores (P, k) for the proposal of ``time``."""
        ...

    def update(self, time: float, joints: Float, scores: Float, size: Size) -> list[Person]:
        """The last stage's, for the oldest proposal: the persons to show.

        ``size`` is the frame's (width, height).
        """
        ...

    def restart(self) -> None:
        """The picture has another size from now on: positions are no longer comparable."""
        ...


class Follower:
    """Persons with ids from the frames of one continuous source."""

    one_by_one = False

    def __init__(
        self, skeleton: Skeleton, options: TrackerOptions | None = None, smooth: bool = True
    ) -> None:
        self._tracker = Tracker(skeleton, options)
        self._smooth = OneEuro() if smooth else None

    @property
    def wants_detector(self) -> bool:
        """See :meth:`Tracker.wants_detector`."""
        return self._tracker.wants_detector()

    @property
    def idle(self) -> bool:
        """See :attr:`Tracker.idle`."""
        return self._tracker.idle

    def look(self) -> None:
        """See :meth:`Tracker.look`."""
        self._tracker.look()

    def detected(self, time: float, found: Float, colours: Float | None = None) -> None:
        """See :meth:`Tracker.detected`."""
        self._tracker.detected(time, found, colours)

    def propose(self, time: float, found: Float | None = None) -> Float:
        """See :meth:`Tracker.propose`."""
        return self._tracker.propose(time, found)

    def preview(self, time: float, joints: Float, scores: Float, size: Size) -> None:
        """See :meth:`Tracker.preview`."""
        self._tracker.preview(time, joints, scores, size)

    def update(self, time: float, joints: Float, scores: Float, size: Size) -> list[Person]:
        """See :meth:`Tracker.update`; joints are smoothed, which the next boxes do not see."""
        people = self._tracker.update(time, joints, scores, size)
        if self._smooth is not None and people:
            people = self._smooth(people, time)
            _fit_boxes(people)
        return people

    def restart(self) -> None:
        """Give everybody up; ids are not used again."""
        self._tracker.forget()


class Stills:
    """Persons in pictures that have nothing to do with each other; ids count within a picture."""

    wants_detector = True
    idle = True
    one_by_one = True

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self._options = options or TrackerOptions()
        self._found = np.zeros((0, 5), np.float32)
        self._asked: deque[Float] = deque()

    def look(self) -> None:
        """Every picture is looked at."""

    def detected(self, time: float, found: Float, colours: Float | None = None) -> None:
        """Keep what was found for the coming picture."""
        self._found = found

    def propose(self, time: float, found: Float | None = None) -> Float:
        """The boxes that the detector found in the picture, best first."""
        boxes = self._found if found is None else found
        self._found = np.zeros((0, 5), np.float32)
        boxes = boxes[boxes[:, 4] >= self._options.start_score][: self._options.max_persons]
        self._asked.append(boxes)
        return np.ascontiguousarray(boxes[:, :4])

    def preview(self, time: float, joints: Float, scores: Float, size: Size) -> None:
        """The next picture has nothing to do with this one."""

    def update(self, time: float, joints: Float, scores: Float, size: Size) -> list[Person]:
        """Persons of the oldest picture, surest first; poor poses are left out."""
        people: list[Person] = []
        for box, pose, sure in zip(self._asked.popleft(), joints, scores, strict=True):
            level = float(sure.mean())
            if not np.isfinite(pose).all() or not level >= self._options.min_score:
                continue
            score = min(1.0, float(np.sqrt(box[4] * level)))
            people.append(Person(len(people) + 1, box[:4], score, pose, sure))
        _fit_boxes(people)
        return people

    def restart(self) -> None:
        """Every picture is a new start."""


def _fit_boxes(people: Sequence[Person]) -> None:
    if people:
        boxes = person_boxes(np.stack([p.joints for p in people]))
        for person, box in zip(people, boxes, strict=True):
            person.box = box
