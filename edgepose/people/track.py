"""What the tracker remembers of one person."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgepose.people.appearance import blend
from edgepose.people.motion import Motion
from edgepose.types import Float

_LIMB_MEMORY = 1.0  # seconds over which the lengths of limbs are averaged
_COLOUR_WEIGHT = 0.3  # of the newest look at a person's colours
_PACE = 0.5  # lengths of a person a second: who is faster is going somewhere


@dataclass(frozen=True, eq=False)
class Twin:
    """Another track on the same pose: who, since when and where, and what both did before that."""

    track: Track
    since: float
    place: Float
    boxes: tuple[Float, Float]
    velocities: tuple[Float, Float]


@dataclass(eq=False)
class Track:
    """One person, shown or not yet; times in seconds, boxes (4,) in pixels."""

    box: Float
    """Of the newest good pose, or of the detection that began the track."""
    found: float
    """The detector's score for the person, a running mean."""
    seen: float
    """Time of the newest good pose or detection."""
    since: float
    """When it was begun or found again."""
    supported: float
    """When the detector last saw it."""
    id: int = 0
    """0 until confirmed."""
    joints: Float | None = None
    before: tuple[Float, Float] | None = None
    """Box and velocity of the pose before the newest."""
    limbs: Float | None = None
    """(m,) pixels: the limbs' lengths, averaged over a second."""
    good: int = 0
    poor_since: float | None = None
    sightings: int = 1
    """Runs of the detector that saw it."""
    misses: int = 0
    """Runs of the detector in a row that did not."""
    lost: bool = False
    leaving: bool = False
    """On the way out of the picture, as far as anybody has seen."""
    starts: int = 1
    """How often it was put on a detection: poses asked for before speak no more for it."""
    ahead: tuple[float, Float] | None = None
    """Time and box of a first estimate that is newer than ``box``."""
    twin: Twin | None = None
    """Another track on the same pose."""
    colours: Float | None = None
    """What the person looks like, as far as the detector has seen them alone."""
    motion: Motion = field(init=False)

    def __post_init__(self) -> None:
        self.motion = Motion(self.centre, self.length)

    @property
    def centre(self) -> Float:
        """(2,) pixels."""
        return np.asarray((self.box[:2] + self.box[2:]) / 2, np.float32)

    @property
    def length(self) -> float:
        """Of the box's longer side, pixels."""
        x0, y0, x1, y1 = self.box.tolist()
        return float(max(1.0, x1 - x0, y1 - y0))

    @property
    def diagonal(self) -> float:
        """Of the box, pixels."""
        x0, y0, x1, y1 = self.box.tolist()
        return max(1.0, math.hypot(x1 - x0, y1 - y0))

    def predicted(self, time: float) -> Float:
        """Box at ``time``, moved on for half a second at most."""
        seen, box = self.seen, self.box
        if self.ahead is not None and seen < self.ahead[0] <= time:
            seen, box = self.ahead
        passed = min(max(time - seen, 0.0), 0.5)
        x, y = (self.motion.velocity * np.float32(passed)).tolist()
        return box + np.array([x, y, x, y], np.float32)

    def learn(self, colours: Float | None) -> None:
        """The person has just been seen alone, in ``colours`` (d,); None: nobody could tell."""
        if colours is not None:
            known = self.colours
            self.colours = colours if known is None else blend(known, colours, _COLOUR_WEIGHT)

    def begin_again(self, time: float, box: Float) -> None:
        """Go on from a detection: what the poses said before does not count."""
        self.box, self.seen = box, time
        self.joints = self.limbs = self.poor_since = self.ahead = None
        self.starts += 1
        motion = Motion(self.centre, self.length)
        if not self.lost:
            motion.head(self.motion.velocity)
        self.motion, self.lost = motion, False

    def is_cut(self, box: Float, size: tuple[int, int]) -> bool:
        """Whether ``box`` touches an edge of the frame, (width, height).

        The lower edge does not count: it cuts persons who stand near the camera.
        """
        near = 0.02 * max(size)
        return bool(box[0] < near or box[2] > size[0] - near or box[1] < near)

    def heads_out(self, size: tuple[int, int]) -> bool:
        """Whether the person is cut by an edge and moves across it."""
        x, y = self.motion.velocity.tolist()
        x0, y0, x1, _ = self.box.tolist()
        near, pace = 0.02 * max(size), _PACE * self.length
        left = x0 < near and x < -pace
        right = x1 > size[0] - near and x > pace
        return bool(left or right or (y0 < near and y < -pace))

    def follow(self, time: float, box: Float, joints: Float, limbs: Float) -> None:
        """Take a good pose: its box, ``joints`` (k, 2) and lengths of ``limbs`` (m,)."""
        passed = time - self.seen
        self.before = (self.box, self.motion.velocity)
        if self.joints is not None and passed > 0:
            centre = np.asarray((box[:2] + box[2:]) / 2, np.float32)
            self.motion.update(centre, passed, self.length)
        if self.limbs is None:
            self.limbs = limbs
        else:
            weight = np.float32(passed / (passed + _LIMB_MEMORY))
            self.limbs = self.limbs + weight * (limbs - self.limbs)
        self.box, self.joints, self.seen = box, joints, time
        self.poor_since = None
        self.good += 1


def plausible(track: Track, time: float, box: Float, limbs: Float, size: tuple[int, int]) -> bool:
    """Whether a pose can be the track's next.

    It lies in the frame of ``size`` (width, height), has not jumped, and its limbs have about the
    lengths that they had: a cascade always gives a pose, also of a person who has walked out of the
    picture, and then it shrinks onto whatever is left.
    """
    x0, y0, x1, y1 = box.tolist()
    area = (x1 - x0) * (y1 - y0)
    wide, high = min(x1, size[0]) - max(x0, 0.0), min(y1, size[1]) - max(y0, 0.0)
    if area <= 0 or wide <= 0 or high <= 0 or wide * high < 0.2 * area:
        return False
    if track.joints is None or track.limbs is None:
        return True
    length = track.length
    if not 0.5 < max(x1 - x0, y1 - y0) / length < 2.0:
        return False
    if len(limbs) and not 0.6 < _median(limbs / np.maximum(track.limbs, 1)) < 1.7:
        return False
    left, top, right, bottom = track.predicted(time).tolist()
    off = math.hypot(x0 + x1 - left - right, y0 + y1 - top - bottom) / 2
    return off < (0.25 + 2 * max(time - track.seen, 0.0)) * length


def _median(values: np.ndarray) -> float:
    """As ``np.median``, whose first call imports numpy.ma: 0.1 s on a small machine."""
    ordered = np.sort(values).tolist()
    middle = len(ordered) // 2
    return float(ordered[middle] + ordered[~middle]) / 2


def limb_lengths(joints: Float, limbs: np.ndarray) -> Float:
    """(P, m) pixels from joints (P, k, 2) and ``limbs`` (m, 2), the indices of their ends."""
    lengths: Float = np.linalg.norm(joints[:, limbs[:, 0]] - joints[:, limbs[:, 1]], axis=-1)
    return lengths
