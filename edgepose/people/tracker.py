"""Who is who from frame to frame: boxes for the cascade out of poses and detections, and ids.

Between two runs of the detector a person's box comes from the person's newest pose. The tracker
sees no picture and calls no network: ``propose`` says which boxes to estimate, ``update`` takes
the poses that came of it. Several proposals may be under way: ``preview`` takes a first estimate
for one of them, ``update`` belongs to the oldest, and ``detected`` to a frame that may be past.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from edgepose.geometry import box_iou, person_boxes
from edgepose.people.assign import assign
from edgepose.people.costs import costs
from edgepose.people.doubles import part_doubles, unions
from edgepose.people.options import TrackerOptions
from edgepose.people.track import Track, limb_lengths, plausible
from edgepose.skeleton import Skeleton
from edgepose.types import Float, Person

__all__ = ["Tracker", "TrackerOptions"]

_OVERLAP = 0.2  # IoU of two persons who are still seen each alone


class Tracker:
    """Follows up to ``max_persons`` persons and gives each an id that is never used twice."""

    def __init__(self, skeleton: Skeleton, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self._limbs = skeleton.limb_index
        self._tracks: list[Track] = []
        self._asked: deque[tuple[float, list[tuple[Track, int]]]] = deque()
        self._next_id = 1
        self._since_look: int | None = None
        self._urgent = False
        self._size = (0, 0)
        self._time = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody is being followed: there is nothing to do but to look for persons."""
        return all(track.lost for track in self._tracks)

    def wants_detector(self) -> bool:
        """Whether the detector should look at the coming frame.

        True on the first frame, every ``detect_every`` frames, at once when somebody was lost,
        soon when somebody new must be seen again, and every ``search_every`` frames while nobody is
        there, somebody lost may come back, or somebody is leaving the picture; twice as often as
        usual while somebody is remembered.
        """
        since = self._since_look
        if since is None or self._urgent:
            return True
        options, every = self.options, self.options.detect_every
        if not self._tracks or any(self._may_come_back(t) or t.leaving for t in self._tracks):
            every = min(every, options.search_every)
        elif any(t.lost for t in self._tracks):
            every = min(every, max(options.search_every, every // 2))
        if any(not self._is_sure(t) for t in self._tracks if not t.id):
            every = min(every, 2)
        return since + 1 >= every

    def look(self) -> None:
        """The detector looks at the coming frame; :meth:`detected` tells later what it found."""
        self._since_look, self._urgent = -1, False

    def detected(self, time: float, detections: Float, colours: Float | None = None) -> None:
        """Take what the detector found in the frame at ``time``, which may be past.

        ``detections`` (n, 5) are boxes and scores, best first; ``colours`` (n, d) their
        :func:`appearance`, None where nobody knows.
        """
        found = np.asarray(detections, np.float32).reshape(-1, 5)
        real = (found[:, 2:4] > found[:, :2]).all(1)
        self._match(time, found[real], None if colours is None else colours[real])

    def propose(
        self, time: float, detections: Float | None = None, colours: Float | None = None
    ) -> Float:
        """Boxes (P, 4) float32 to estimate poses in, for the frame at ``time`` seconds.

        ``detections`` (n, 5) are the detector's for this very frame, with their ``colours``; None
        when it did not look or is not done. :meth:`update` must be called once for each proposal,
        in their order.
        """
        if detections is not None:
            self.look()
            self.detected(time, detections, colours)
        self._since_look, self._time = (self._since_look or 0) + 1, time
        self._tracks = [t for t in self._tracks if time - t.seen <= self._waits(t)]
        asked = [t for t in self._tracks if not t.lost][: self.options.max_persons]
        self._asked.append((time, [(track, track.starts) for track in asked]))
        if not asked:
            return np.zeros((0, 4), np.float32)
        return np.stack([t.predicted(time) for t in asked])

    def preview(self, time: float, joints: Float, scores: Float, size: tuple[int, int]) -> None:
        """A first estimate for the proposal of ``time``, from which the next one may go on.

        Shapes as of :meth:`update`. It moves boxes and nothing else: who is shown, lost or found is
        said by :meth:`update` alone.
        """
        asked = next((tracks for at, tracks in self._asked if at == time), [])
        if not asked:
            return
        boxes, limbs = person_boxes(joints), limb_lengths(joints, self._limbs)
        for i, (track, starts) in enumerate(asked):
            if track.lost or track.starts != starts or not np.isfinite(joints[i]).all():
                continue
            level = float(scores[i].mean())
            if level >= self.options.min_score and plausible(track, time, boxes[i], limbs[i], size):
                track.ahead = (time, boxes[i])

    def update(
        self, time: float, joints: Float, scores: Float, size: tuple[int, int]
    ) -> list[Person]:
        """Take the poses for the boxes of the oldest proposal and give the persons to show, by id.

        ``time`` is that of the proposal; ``joints`` (P, k, 2) pixels and ``scores`` (P, k) belong
        to its boxes; ``size`` is the frame's (width, height). A pose that is not finite counts as
        poor and is never shown.
        """
        _, asked = self._asked.popleft() if self._asked else (time, [])
        if len(joints) != len(asked):
            raise ValueError(f"{len(asked)} poses were asked for, {len(joints)} came")
        if not asked:
            return []
        self._size = size
        boxes, limbs = person_boxes(joints), limb_lengths(joints, self._limbs)
        finite = np.asarray(np.isfinite(joints).all((1, 2)) & np.isfinite(scores).all(1))
        level = scores.mean(1)
        shown = []
        for i, (track, starts) in enumerate(asked):
            if track.lost:
                continue  # given up since the pose was asked for
            if track.starts != starts:
                pass  # found elsewhere since then: the pose is shown and no more
            elif (
                finite[i]
                and self._is_good(track, float(level[i]))
                and plausible(track, time, boxes[i], limbs[i], size)
            ):
                self._follow(track, time, boxes[i], joints[i], limbs[i], float(level[i]))
                track.leaving = track.leaving or track.heads_out(size)
            else:
                self._doubt(track, time)
            if track.id and not track.lost and finite[i]:
                score = min(1.0, _together(track, float(level[i])))
                shown.append(Person(track.id, boxes[i], score, joints[i], scores[i]))
        if len(asked) > 1:
            active = [t for t, _ in asked if not t.lost and t.joints is not None]
            gone = {track.id for track in part_doubles(active, time, self.options)}
            shown = [p for p in shown if p.id not in gone]
        self._tracks = [t for t in self._tracks if t.id or not t.lost]
        shown.sort(key=lambda person: person.id)
        return shown

    def forget(self) -> None:
        """Give everybody up for good; what is under way speaks for nobody."""
        for track in self._tracks:
            track.lost = True
        self._tracks, self._since_look = [], None

    def _waits(self, track: Track) -> float:
        """Seconds that a track's id waits for its person."""
        return self.options.keep if track.colours is None else self.options.recall

    def _may_come_back(self, track: Track) -> bool:
        """Whether it is likely enough that a lost person is there again to look for them often."""
        return track.lost and self._time - track.seen <= self.options.keep

    def _match(self, time: float, detections: Float, colours: Float | None) -> None:
        """Give detections to tracks; start new tracks from those that nobody takes."""
        options = self.options
        pairs: dict[int, int] = {}
        if self._tracks and len(detections):
            pairs = dict(assign(costs(self._tracks, time, detections, colours, options)))
        known = _of_the_lone(detections, colours)
        for row, track in enumerate(self._tracks):
            if row in pairs:
                self._support(track, detections[pairs[row]], time)
                track.learn(known[pairs[row]])
                continue
            track.misses += 1
            # The detector may overlook whom the cascade sees well, but not for ever.
            doubted = time - track.supported > options.trust or not track.id
            if (doubted and track.misses >= 2) or track.leaving:
                track.lost = True
        for column, row in enumerate(detections):
            active = [t for t in self._tracks if not t.lost]
            if len(active) >= options.max_persons:
                break
            if column in pairs.values() or row[4] < options.start_score:
                continue
            held = [t.predicted(time) for t in active]
            if held and box_iou(row[None, :4], [*held, *unions(held)]).max() > 0.5:
                continue
            track = Track(row[:4].copy(), float(row[4]), time, time, time)
            track.learn(known[column])
            self._tracks.append(track)

    def _support(self, track: Track, detection: Float, time: float) -> None:
        """The detector sees the track's person in ``detection`` (5,)."""
        box, score = detection[:4].copy(), float(detection[4])
        track.found = score if track.lost else 0.5 * (track.found + score)
        track.supported, track.misses = time, 0
        track.sightings += 1
        astray = box_iou(box[None], track.predicted(time)[None])[0, 0] < 0.5
        if astray and not track.lost:
            # A box around two persons does not say that one of them is elsewhere.
            others = [t.predicted(time) for t in self._tracks if not t.lost and t is not track]
            both = unions([track.predicted(time)], others)
            astray = not both or box_iou(box[None], both).max() < 0.5
        if track.lost or (astray and score >= self.options.start_score):
            # A pose that has slipped off its person starts again from the detector's box.
            if track.lost:
                track.since = time
            track.begin_again(time, box)
        # Who is still cut by the edge may be gone by the next look.
        track.leaving = track.leaving and track.is_cut(box, self._size)

    def _follow(
        self, track: Track, time: float, box: Float, joints: Float, limbs: Float, level: float
    ) -> None:
        track.follow(time, box, joints, limbs)
        proven = track.good >= self.options.confirm and self._is_sure(track)
        if not track.id and (proven or _together(track, level) >= self.options.at_once):
            track.id, self._next_id = self._next_id, self._next_id + 1

    def _is_good(self, track: Track, level: float) -> bool:
        """Whether a pose with the mean score ``level`` is believed."""
        if track.id:
            return level >= self.options.min_score
        enough = _together(track, level) >= self.options.confirm_person
        return enough and level >= self.options.confirm_score

    def _is_sure(self, track: Track) -> bool:
        return track.sightings > 1 or track.found >= self.options.sure_score

    def _doubt(self, track: Track, time: float) -> None:
        track.good = 0
        if track.poor_since is None:
            track.poor_since = time
        if time - track.poor_since >= self.options.patience:
            track.lost, self._urgent = True, self._urgent or bool(track.id)


def _of_the_lone(detections: Float, colours: Float | None) -> list[Float | None]:
    """Each detection's colours (d,), None where they are not known or not the person's alone."""
    if colours is None or not len(detections):
        return [None] * len(detections)
    # Of two who overlap one is seen in part, and in the other's colours.
    alone = box_iou(detections[:, :4], detections[:, :4]).sum(1) < 1 + _OVERLAP
    return [own if lone else None for own, lone in zip(colours, alone, strict=True)]


def _together(track: Track, level: float) -> float:
    """The score of a person: the geometric mean of the detector's and the pose's."""
    return float(np.sqrt(max(track.found, 0.0) * max(level, 0.0)))
