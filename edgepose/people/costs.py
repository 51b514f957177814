"""What it costs to take a detection for a person who is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepose.geometry import box_iou, centre_and_size
from edgepose.people.appearance import unlike
from edgepose.people.options import TrackerOptions
from edgepose.people.track import Track
from edgepose.types import Float


def costs(
    tracks: Sequence[Track],
    time: float,
    detections: Float,
    colours: Float | None,
    options: TrackerOptions,
) -> Float:
    """(tracks, detections): how badly they fit, infinite where they cannot be the same.

    ``detections`` (n, 5) are those of the frame at ``time``, with their ``colours`` (n, d). Whoever
    is being followed is known by place (IoU), and comes first; the lost by place, size and colours.
    """
    held = np.stack([t.predicted(time) for t in tracks])
    iou = box_iou(held, detections[:, :4])
    cost = np.where(iou >= 0.2, 1 - iou, np.inf).astype(np.float32)
    centre, size = centre_and_size(detections[:, :4])
    height = np.maximum(size.max(1), 1)
    for i, track in enumerate(tracks):
        if not track.lost:
            continue
        # A lost person may be anywhere in walking distance, but is as large as before.
        own, away = track.length, time - track.seen
        distance = np.linalg.norm(centre - centre_and_size(held[i])[0], axis=1)
        reach = (0.3 + 0.7 * away) * own
        near = (distance < reach) & (height < 1.6 * own) & (own < 1.6 * height)
        off = np.zeros(len(detections), np.float32)
        if colours is not None and track.colours is not None:
            off = unlike(track.colours, colours)
            near &= off < (options.unlike if away <= options.keep else options.alike)
        elif away > options.keep:
            near[:] = False
        cost[i] = np.where(near, 1 + distance / reach + off, np.inf)
    return cost
