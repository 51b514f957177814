"""Contact sheets: persons with their skeletons, side by side, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgepose.data.records import Pictures, load_records, set_skeleton
from edgepose.evaluate.estimates import Estimates
from edgepose.evaluate.metrics import torso_size
from edgepose.geometry import square_boxes
from edgepose.output.overlay import Overlay
from edgepose.skeleton import Skeleton
from edgepose.types import Float, Image, Person, as_image

_TILE, _COLUMNS = 220, 6


def tile(
    picture: Image, box: Float, joints: Float, scores: Float, skeleton: Skeleton, text: str
) -> Image:
    """One person (220, 220, 3): the picture about ``box`` with the pose; joints (k, 2) pixels."""
    x0, y0, x1, _ = square_boxes(box, 1.25)
    scale = _TILE / max(float(x1 - x0), 1.0)
    move = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]], np.float64)
    view = as_image(cv2.warpAffine(picture, move, (_TILE, _TILE), flags=cv2.INTER_AREA))
    moved = ((joints - np.array([x0, y0])) * scale).astype(np.float32)
    if (scores > 0).any():
        # Joints that nobody labelled must not stretch the drawing.
        moved = np.where(scores[:, None] > 0, moved, moved[scores > 0].mean(0)).astype(np.float32)
        person = Person(1, np.zeros(4, np.float32), 1.0, moved, scores)
        Overlay(skeleton, labels=False).draw(view, [person])
    cv2.putText(view, text, (4, _TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
    return view


def sheet(tiles: Sequence[Image]) -> bytes:
    """The tiles in rows of six, as PNG."""
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    whole = np.zeros((rows * _TILE, columns * _TILE, 3), np.uint8)
    for i, one in enumerate(tiles):
        y, x = divmod(i, columns)
        whole[y * _TILE : (y + 1) * _TILE, x * _TILE : (x + 1) * _TILE] = one
    return bytes(cv2.imencode(".png", whole)[1])


def data_sheet(path: Path, split: str | None, count: int) -> bytes:
    """Some persons of an annotation file, evenly spread over it, as labelled. DataError if bad."""
    skeleton, records = set_skeleton(path), load_records(path, split)
    chosen = np.unique(np.linspace(0, len(records) - 1, count).astype(int))
    with Pictures(path) as pictures:
        tiles = [
            tile(
                pictures.decode(r.image),
                r.truth_box,
                r.points,
                r.labelled.astype(np.float32),
                skeleton,
                r.image,
            )
            for r in (records[i] for i in chosen)
        ]
    return sheet(tiles)


def worst_sheet(sets: Sequence[tuple[Estimates, Pictures]], count: int = 24) -> bytes:
    """The persons that are most wrong after the last stage, by mean error in torso diameters."""
    found: list[tuple[float, int, Estimates, Pictures]] = []
    for estimates, pictures in sets:
        size = torso_size(estimates.truth, estimates.labelled, estimates.skeleton)
        error = np.linalg.norm(estimates.stages[-1] - estimates.truth, axis=-1) / size[:, None]
        error = np.where(estimates.labelled, error, np.nan)
        known = estimates.found & estimates.labelled.any(1) & ~np.isnan(size)
        found += [
            (float(np.nanmean(error[i])), int(i), estimates, pictures)
            for i in np.flatnonzero(known)
        ]
    found.sort(key=lambda one: -one[0])
    tiles = [
        tile(
            pictures.decode(e.images[i]),
            e.boxes[i],
            e.stages[-1][i],
            np.maximum(e.scores[-1][i], 0.3),
            e.skeleton,
            f"{error:.2f}  {e.images[i]}",
        )
        for error, i, e, pictures in found[:count]
    ]
    return sheet(tiles or [np.zeros((_TILE, _TILE, 3), np.uint8)])
