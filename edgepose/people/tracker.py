"""Who is who from frame to frame: boxes for the cascade out of poses and detections, and ids.

Between two runs of the detector a person's box comes from the person's newest pose. The tracker
holds no picture and calls no network: ``propose`` says which boxes to estimate, ``update`` takes
the poses that came of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepose.geometry import box_iou, centre_and_size, person_boxes
from edgepose.people.assign import assign
from edgepose.types import Float, Person


@dataclass(frozen=True)
class TrackerOptions:
    """What the tracker lives by. Times are in seconds, so that they hold at any frame rate."""

    detect_every: int = 20
    """Frames from one run of the detector to the next while all is well."""
    search_every: int = 3
    """The same while nobody is followed, or somebody lost may come back."""
    max_persons: int = 5
    start_score: float = 0.4
    """A detection under this starts nobody (it may still confirm somebody)."""
    min_score: float = 0.25
    """A pose whose mean joint score is under this is poor."""
    confirm: int = 3
    """Good poses in a row that a new person needs before being shown."""
    confirm_score: float = 0.53
    """The ``min_score`` of these."""
    sure_score: float = 0.7
    """A new person's detection under this must be seen again, two frames later."""
    patience: float = 0.15
    """How long a shown person may be poor before being given up as lost."""
    trust: float = 2.0
    """How long a good pose is believed against a detector that sees nobody there."""
    keep: float = 1.0
    """How long a lost person's id waits for a detection near where the person would be."""
    fresh: float = 0.5
    """How long a person who was begun or found again must prove to be nobody else's double."""
    same_pose: float = 0.06
    """Two persons whose joints are this near each other, in box diagonals, are one."""
    same_box: float = 0.6
    """The overlap from which a fresh person is taken for a double."""


@dataclass(eq=False)
class _Track:
    box: Float
    """Of the newest good pose, or of the detection that began the track."""
    found: float
    """The detector's score for the person, a running mean."""
    seen: float
    """Time of the newest good pose or detection."""
    velocity: Float
    """Of the box's centre, pixels a second."""
    since: float
    """When it was begun or found again."""
    supported: float
    """When the detector last saw it."""
    id: int = 0
    """0 until confirmed."""
    joints: Float | None = None
    good: int = 0
    poor_since: float | None = None
    sightings: int = 1
    """Runs of the detector that saw it."""
    misses: int = 0
    """Runs of the detector in a row that did not."""
    lost: bool = False
    twin: tuple[_Track, float, Float, Float] | None = None
    """Another track on the same pose: who, since when, and both predictions from that time on."""

    @property
    def centre(self) -> Float:
        return np.asarray((self.box[:2] + self.box[2:]) / 2, np.float32)

    @property
    def diagonal(self) -> float:
        return max(1.0, float(np.hypot(*(self.box[2:] - self.box[:2]))))

    def predicted(self, time: float) -> Float:
        """Box at ``time``, moved on at a velocity that dies down over half a second."""
        ahead = min(max(time - self.seen, 0.0), 0.5)
        move = self.velocity * np.float32(ahead)
        return np.asarray(self.box + np.concatenate((move, move)), np.float32)


class Tracker:
    """Follows up to ``max_persons`` persons and gives each an id that is never used twice."""

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._asked: list[_Track] = []
        self._next_id = 1
        self._since_detection: int | None = None
        self._urgent = False

    def wants_detector(self) -> bool:
        """Whether the detector should look at the coming frame.

        True on the first frame, every ``detect_every`` frames, at once when somebody was lost,
        soon when somebody new must be seen again, and every ``search_every`` frames while nobody is
        there or somebody lost may come back.
        """
        since = self._since_detection
        if since is None or self._urgent:
            return True
        options, every = self.options, self.options.detect_every
        if not self._tracks or any(t.lost for t in self._tracks):
            every = min(every, options.search_every)
        if any(not self._is_sure(t) for t in self._tracks if not t.id):
            every = min(every, 2)
        return since + 1 >= every

    def propose(self, time: float, detections: Float | None = None) -> Float:
        """Boxes (P, 4) float32 to estimate poses in, for the frame at ``time`` seconds.

        ``detections`` (n, 5) are the detector's boxes and scores for this frame, best first; None
        when it did not run. Call :meth:`update` with the poses next.
        """
        self._since_detection = (self._since_detection or 0) + 1
        if detections is not None:
            self._since_detection, self._urgent = 0, False
            found = np.asarray(detections, np.float32).reshape(-1, 5)
            self._match(time, found[(found[:, 2:4] > found[:, :2]).all(1)])
        self._tracks = [t for t in self._tracks if time - t.seen <= self.options.keep]
        self._asked = [t for t in self._tracks if not t.lost][: self.options.max_persons]
        if not self._asked:
            return np.zeros((0, 4), np.float32)
        return np.stack([t.predicted(time) for t in self._asked])

    def update(
        self, time: float, joints: Float, scores: Float, size: tuple[int, int]
    ) -> list[Person]:
        """Take the poses for the proposed boxes and give the persons to show, by id.

        ``joints`` (P, k, 2) pixels and ``scores`` (P, k) belong to the boxes of the last
        :meth:`propose`; ``size`` is the frame's (width, height). A pose that is not finite counts
        as poor and is never shown.
        """
        if len(joints) != len(self._asked):
            raise ValueError(f"{len(self._asked)} poses were asked for, {len(joints)} came")
        if not self._asked:
            return []
        boxes = person_boxes(joints)
        finite = np.asarray(np.isfinite(joints).all((1, 2)) & np.isfinite(scores).all(1))
        level = scores.mean(1)
        shown = []
        for i, track in enumerate(self._asked):
            least = self.options.min_score if track.id else self.options.confirm_score
            good = bool(finite[i] and level[i] >= least and _plausible(track, boxes[i], size))
            if good:
                self._follow(track, time, boxes[i], joints[i])
            else:
                self._doubt(track, time)
            if track.id and not track.lost and finite[i]:
                score = float(np.sqrt(max(track.found, 0.0) * max(float(level[i]), 0.0)))
                shown.append(Person(track.id, boxes[i], min(score, 1.0), joints[i], scores[i]))
        if len(self._asked) > 1:
            gone = self._merge(time)
            shown = [p for p in shown if p.id not in gone]
        self._tracks = [t for t in self._tracks if t.id or not t.lost]
        shown.sort(key=lambda person: person.id)
        return shown

    def _match(self, time: float, detections: Float) -> None:
        """Give detections to tracks; start new tracks from those that nobody takes."""
        options = self.options
        taken: set[int] = set()
        if self._tracks and len(detections):
            for row, column in assign(self._costs(time, detections)):
                self._support(self._tracks[row], detections[column], time)
                taken.add(column)
        for track in self._tracks:
            if track.supported == time:
                continue
            track.misses += 1
            # The detector may overlook whom the cascade sees well, but not for ever.
            doubted = time - track.supported > options.trust or not track.id
            if doubted and track.misses >= 2:
                track.lost = True
        for column, row in enumerate(detections):
            active = [t for t in self._tracks if not t.lost]
            if len(active) >= options.max_persons:
                break
            if column in taken or row[4] < options.start_score:
                continue
            held = np.stack([t.predicted(time) for t in active]) if active else np.zeros((0, 4))
            if len(held) and box_iou(row[None, :4], held).max() > 0.5:
                continue
            still = np.zeros(2, np.float32)
            self._tracks.append(_Track(row[:4].copy(), float(row[4]), time, still, time, time))

    def _costs(self, time: float, detections: Float) -> Float:
        """(tracks, detections): how badly they fit, infinite where they cannot be the same."""
        held = np.stack([t.predicted(time) for t in self._tracks])
        iou = box_iou(held, detections[:, :4])
        cost = np.where(iou >= 0.2, 1 - iou, np.inf).astype(np.float32)
        centre, size = centre_and_size(detections[:, :4])
        height = np.maximum(size.max(1), 1)
        for i, track in enumerate(self._tracks):
            if not track.lost:
                continue
            # A lost person may be anywhere in walking distance, but is as large as before.
            own = float(np.max(track.box[2:] - track.box[:2]))
            distance = np.linalg.norm(centre - centre_and_size(held[i])[0], axis=1)
            reach = (0.3 + 0.7 * (time - track.seen)) * own
            near = (distance < reach) & (height < 1.6 * own) & (own < 1.6 * height)
            # Whoever is being followed comes first.
            cost[i] = np.where(near, 1 + distance / reach, np.inf)
        return cost

    def _support(self, track: _Track, detection: Float, time: float) -> None:
        """The detector sees the track's person in ``detection`` (5,)."""
        box, score = detection[:4].copy(), float(detection[4])
        track.found = score if track.lost else 0.5 * (track.found + score)
        track.supported, track.misses = time, 0
        track.sightings += 1
        astray = box_iou(box[None], track.predicted(time)[None])[0, 0] < 0.5
        if track.lost or (astray and score >= self.options.start_score):
            # A pose that has slipped off its person starts again from the detector's box.
            track.box, track.seen = box, time
            track.velocity = np.zeros(2, np.float32)
            if track.lost:
                track.since = time
            track.joints, track.poor_since, track.lost = None, None, False

    def _follow(self, track: _Track, time: float, box: Float, joints: Float) -> None:
        passed = time - track.seen
        if track.joints is not None and passed > 0:
            moved = ((box[:2] + box[2:]) / 2 - track.centre) / np.float32(passed)
            # The jitter of single frames must not move boxes: a mean over about 0.15 s.
            weight = np.float32(passed / (passed + 0.15))
            track.velocity = track.velocity + weight * (moved - track.velocity)
        track.box, track.joints, track.seen = box, joints, time
        track.poor_since = None
        track.good += 1
        if not track.id and track.good >= self.options.confirm and self._is_sure(track):
            track.id, self._next_id = self._next_id, self._next_id + 1

    def _is_sure(self, track: _Track) -> bool:
        return track.sightings > 1 or track.found >= self.options.sure_score

    def _doubt(self, track: _Track, time: float) -> None:
        track.good = 0
        if track.poor_since is None:
            track.poor_since = time
        if not track.id:
            track.lost = True
        elif time - track.poor_since >= self.options.patience:
            track.lost = self._urgent = True

    def _merge(self, time: float) -> set[int]:
        """Give up one of two tracks that have settled on one person; the ids given up.

        A fresh double goes at once. Persons who pass each other share a pose for a moment, so two
        who have been seen apart must stay together for a while; then the one that was heading
        elsewhere is lost, not deleted: its id waits for the person to come out again.
        """
        active = [t for t in self._asked if not t.lost and t.joints is not None]
        gone: set[int] = set()
        for i, first in enumerate(active):
            for second in active[i + 1 :]:
                if first.lost or second.lost:
                    continue
                apart = _apart(first, second)
                newer = max(first, second, key=lambda t: (not t.id, t.since, -t.found))
                loser = None
                if time - newer.since < self.options.fresh:
                    overlap = box_iou(first.box[None], second.box[None])[0, 0]
                    if apart < self.options.same_pose or overlap > self.options.same_box:
                        loser = newer
                elif apart >= self.options.same_pose:
                    if second.twin is not None and second.twin[0] is first:
                        second.twin = None
                elif second.twin is None or second.twin[0] is not first:
                    second.twin = (first, time, first.velocity.copy(), second.velocity.copy())
                elif time - second.twin[1] >= self.options.patience:
                    loser, second.twin = _misfit(first, second), None
                if loser is not None:
                    loser.lost = True
                    gone.add(loser.id)
        return gone


def _apart(a: _Track, b: _Track) -> float:
    """Mean distance of the joints of two tracks, in diagonals of the smaller box."""
    assert a.joints is not None
    assert b.joints is not None
    distance = float(np.linalg.norm(a.joints - b.joints, axis=1).mean())
    return distance / min(a.diagonal, b.diagonal)


def _misfit(first: _Track, second: _Track) -> _Track:
    """Which of two tracks on one pose was heading elsewhere when they met."""
    assert second.twin is not None
    _, _, first_velocity, second_velocity = second.twin
    now = (first.velocity + second.velocity) / 2
    first_off = float(np.linalg.norm(now - first_velocity))
    second_off = float(np.linalg.norm(now - second_velocity))
    if abs(first_off - second_off) < 0.05 * first.diagonal:
        return first if first.found < second.found else second
    loser, velocity = (
        (first, first_velocity) if first_off > second_off else (second, second_velocity)
    )
    loser.velocity = velocity
    return loser


def _plausible(track: _Track, box: Float, size: tuple[int, int]) -> bool:
    """Whether a pose's box can be the track's next: in the frame, and not suddenly another size."""
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    wide = min(float(box[2]), size[0]) - max(float(box[0]), 0.0)
    high = min(float(box[3]), size[1]) - max(float(box[1]), 0.0)
    if area <= 0 or wide <= 0 or high <= 0 or wide * high < 0.2 * area:
        return False
    if track.joints is None:
        return True
    before = float(np.max(track.box[2:] - track.box[:2]))
    ratio = float(np.max(box[2:] - box[:2])) / max(before, 1.0)
    return 0.5 < ratio < 2.0
