"""Two tracks that have settled on one person."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from edgepose.geometry import box_iou
from edgepose.people.motion import Motion
from edgepose.people.options import TrackerOptions
from edgepose.people.track import Track, Twin
from edgepose.types import Float


def part_doubles(active: Sequence[Track], time: float, options: TrackerOptions) -> list[Track]:
    """Give up one of two tracks that have settled on one person; those given up.

    A fresh double goes at once. Persons who pass each other share a pose for a moment, so two who
    have been seen apart must stay together for a while; then the one that was heading elsewhere is
    lost, not deleted: its id waits for the person to come out again.
    """
    gone = []
    for i, first in enumerate(active):
        for second in active[i + 1 :]:
            if not first.lost and not second.lost:
                loser = _double(first, second, time, options)
                if loser is not None:
                    loser.lost = True
                    gone.append(loser)
    return gone


def unions(boxes: Sequence[Float], others: Sequence[Float] | None = None) -> list[Float]:
    """Boxes (4,) around each two of ``boxes``, or around one of them and one of ``others``."""
    pairs: Iterable[tuple[Float, Float]] = itertools.combinations(boxes, 2)
    if others is not None:
        pairs = itertools.product(boxes, others)
    return [np.concatenate((np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:]))) for a, b in pairs]


def _double(first: Track, second: Track, time: float, options: TrackerOptions) -> Track | None:
    distance = _apart(first, second)
    newer = max(first, second, key=lambda t: (not t.id, t.since, -t.found))
    if time - newer.since < options.fresh:
        overlap = box_iou(first.box[None], second.box[None])[0, 0]
        return newer if distance < options.same_pose or overlap > options.same_box else None
    together = second.twin is not None and second.twin.track is first
    if distance >= options.same_pose:
        if together:
            second.twin = None
    elif second.twin is None or not together:
        second.twin = _meeting(first, second, time)
    elif time - second.twin.since >= options.patience:
        loser, second.twin = _misfit(first, second, second.twin, time), None
        return loser
    return None


def _meeting(first: Track, second: Track, time: float) -> Twin:
    (a, v), (b, w) = (
        track.before or (track.box, track.motion.velocity) for track in (first, second)
    )
    middle = np.asarray((first.centre + second.centre) / 2, np.float32)
    return Twin(first, time, middle, (a, b), (v, w))


def _apart(a: Track, b: Track) -> float:
    """Mean distance of the joints of two tracks, in diagonals of the smaller box."""
    assert a.joints is not None
    assert b.joints is not None
    distance = float(np.linalg.norm(a.joints - b.joints, axis=1).mean())
    return distance / min(a.diagonal, b.diagonal)


def _misfit(first: Track, second: Track, twin: Twin, time: float) -> Track:
    """Which of two tracks on one pose was heading elsewhere when they met.

    It is put where it would be by now: there its person may be found again.
    """
    # Where the pose they share has gone since: their filters still feel the jump onto it.
    gone = (first.centre + second.centre) / 2 - twin.place
    now = gone / np.float32(time - twin.since)
    off = [float(np.linalg.norm(now - velocity)) for velocity in twin.velocities]
    if abs(off[0] - off[1]) < 0.05 * first.diagonal:
        number = 0 if first.found < second.found else 1
    else:
        number = 0 if off[0] > off[1] else 1
    loser, velocity = (first, second)[number], twin.velocities[number]
    move = velocity * np.float32(min(time - twin.since, 0.5))
    loser.box = np.asarray(twin.boxes[number] + np.concatenate((move, move)), np.float32)
    loser.motion = Motion(loser.centre, loser.length)
    loser.motion.head(velocity)
    return loser
