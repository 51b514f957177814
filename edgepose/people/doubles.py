"""Two tracks that have settled on one person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepose.geometry import box_iou
from edgepose.people.options import TrackerOptions
from edgepose.people.track import Track


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


def _double(first: Track, second: Track, time: float, options: TrackerOptions) -> Track | None:
    distance = _apart(first, second)
    newer = max(first, second, key=lambda t: (not t.id, t.since, -t.found))
    if time - newer.since < options.fresh:
        overlap = box_iou(first.box[None], second.box[None])[0, 0]
        return newer if distance < options.same_pose or overlap > options.same_box else None
    together = second.twin is not None and second.twin[0] is first
    if distance >= options.same_pose:
        if together:
            second.twin = None
    elif second.twin is None or not together:
        second.twin = (first, time, first.motion.velocity, second.motion.velocity)
    elif time - second.twin[1] >= options.patience:
        loser, second.twin = _misfit(first, second), None
        return loser
    return None


def _apart(a: Track, b: Track) -> float:
    """Mean distance of the joints of two tracks, in diagonals of the smaller box."""
    assert a.joints is not None
    assert b.joints is not None
    distance = float(np.linalg.norm(a.joints - b.joints, axis=1).mean())
    return distance / min(a.diagonal, b.diagonal)


def _misfit(first: Track, second: Track) -> Track:
    """Which of two tracks on one pose was heading elsewhere when they met."""
    assert second.twin is not None
    _, _, first_velocity, second_velocity = second.twin
    now = (first.motion.velocity + second.motion.velocity) / 2
    first_off = float(np.linalg.norm(now - first_velocity))
    second_off = float(np.linalg.norm(now - second_velocity))
    if abs(first_off - second_off) < 0.05 * first.diagonal:
        return first if first.found < second.found else second
    loser, velocity = (
        (first, first_velocity) if first_off > second_off else (second, second_velocity)
    )
    loser.motion.head(velocity)
    return loser
