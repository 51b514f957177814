"""Training canvases for the detector from whole pictures: as a letterboxed frame, or a mosaic.

Persons of a whole picture have the size, the light and the surroundings that persons have; rooms
and streets without a person teach what is none. Crops around persons, of which other data sets
consist, fill parts of the mosaics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from edgepose.crop import crop
from edgepose.train.augment import MEAN
from edgepose.train.detector_data import LabelledPicture, box_rows, overlap_share
from edgepose.train.detector_light import relit
from edgepose.types import Float

_GREY = MEAN[0]  # normalises to 0: what pads a letterboxed frame
_LEAST = 13  # pixels: the longer side of a person that is to be found
_VISIBLE, _TRACE = 0.4, 0.03  # share of a cut-off person's box: a person from the one, unsure from


class SceneCanvases:
    """Makes canvases (3, H, W) float32 RGB in 8-bit levels, with persons and unsure boxes."""

    def __init__(
        self, scenes: Sequence[LabelledPicture], crops: Sequence[LabelledPicture], seed: int
    ) -> None:
        """``scenes`` are whole pictures, some of them without persons; ``crops`` may be none."""
        self.peopled = [s for s in scenes if len(s.persons)]
        self.empty = [s for s in scenes if not len(s.persons)] or self.peopled
        self.crops = [s for s in crops if len(s.persons)] or self.peopled
        self.random = np.random.default_rng(seed)

    def canvas(self, height: int, width: int) -> tuple[Float, Float, Float]:
        """One canvas with its persons (n, 4) and unsure regions (m, 4) in pixels."""
        board = _Board(height, width, self.random)
        if self.random.random() < 0.68:
            self._frame(board)
        else:
            self._mosaic(board)
        persons, unsure = box_rows(board.persons), box_rows(board.unsure)
        padding = (board.levels == _GREY).all(0, keepdims=True)
        levels = relit(board.levels, persons, self.random)
        if self.random.random() < 0.8:
            levels = np.where(padding, np.float32(_GREY), levels)
        return levels, persons, unsure

    def _pick(self, empty: float, crops: float) -> LabelledPicture:
        """A picture: without persons, or a crop, with these chances, else one with persons."""
        chance = self.random.random()
        if chance < empty:
            pool = self.empty
        else:
            pool = self.crops if chance < empty + crops else self.peopled
        return pool[self.random.integers(len(pool))]

    def _frame(self, board: _Board) -> None:
        """One picture, letterboxed as at run time or shown from further off or nearer."""
        rng = self.random
        source = self._pick(0.24, 0.12)
        canvas, picture = board.sides, np.array(source.picture.shape[1::-1], np.float32)
        zoom = float(np.min(canvas / picture))
        chance = rng.random()
        if chance < 0.3:
            zoom *= float(np.exp(rng.uniform(np.log(0.55), 0)))
        elif chance < 0.65:
            zoom *= float(np.exp(rng.uniform(0, np.log(1.9))))
        view = canvas / (zoom * np.exp(rng.normal(0, 0.06, 2)))
        slack = picture - view
        corner = np.where(
            (slack <= 0) & (rng.random(2) < 0.6),
            slack / 2,
            rng.uniform(np.minimum(slack, 0), np.maximum(slack, 0)),
        )
        shown = np.concatenate((corner, corner + view))
        if (view > 1.05 * picture).any() and rng.random() < 0.35:
            # Another scene in place of the padding: a wide shot.
            self._cover(board, self._pick(1, 0), np.array([0, 0, *canvas]))
            scale = canvas / view
            place = np.round(np.concatenate((-corner * scale, (picture - corner) * scale)))
            part = np.clip(place, 0, np.tile(canvas, 2))
            back = picture / np.maximum(place[2:] - place[:2], 1)
            shown = np.concatenate(((part[:2] - place[:2]) * back, (part[2:] - place[:2]) * back))
            board.lay(source, part, shown)
        else:
            board.lay(source, np.array([0, 0, *canvas]), shown)

    def _mosaic(self, board: _Board) -> None:
        """Two or four pictures, each filling its part of the canvas."""
        (width, height), rng = board.sides, self.random
        x, y = np.round(board.sides * rng.uniform(0.3, 0.7, 2))
        if rng.random() < 1 / 3:
            halves = [(0, 0, x, height), (x, 0, width, height)]
            parts = halves if width >= height else [(0, 0, width, y), (0, y, width, height)]
        else:
            parts = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        for part in parts:
            self._cover(board, self._pick(0.3, 0.3), np.array(part))

    def _cover(self, board: _Board, source: LabelledPicture, place: Float) -> None:
        """Fill ``place`` (4,) with a part of a picture."""
        sides, picture = place[2:] - place[:2], np.array(source.picture.shape[1::-1])
        zoom = float(np.max(sides / picture)) * float(np.exp(self.random.uniform(0, 0.45)))
        view = sides / zoom
        corner = self.random.uniform(0, np.maximum(picture - view, 0))
        board.lay(source, place, np.concatenate((corner, corner + view)))


class _Board:
    """A canvas, grey at first, and the labels of what was laid on it."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.levels = np.full((3, height, width), _GREY, np.float32)
        self.sides = np.array([width, height], np.float32)
        self.persons: list[Float] = []
        self.unsure: list[Float] = []
        self._random = rng

    def lay(self, source: LabelledPicture, place: ArrayLike, window: ArrayLike) -> None:
        """Resample ``window`` (4,) of a picture onto ``place`` (4,), whole pixels; often mirrored.

        A window that reaches beyond the picture brings padding along.
        """
        place, window = np.asarray(place, np.float32), np.asarray(window, np.float32)
        x0, y0, x1, y1 = place.astype(int)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return
        border = (_GREY, _GREY, _GREY)
        levels = crop(source.picture, window[None], (y1 - y0, x1 - x0), border=border)[0]
        height, width = source.picture.shape[:2]
        scale = np.tile((place[2:] - place[:2]) / (window[2:] - window[:2]), 2)
        rows = box_rows([[0, 0, width, height], *source.persons, *source.unsure])
        rows = (rows - np.tile(window[:2], 2)) * scale + np.tile(place[:2], 2)
        if self._random.random() < 0.5:
            levels = levels[:, :, ::-1]
            rows[:, [0, 2]] = place[0] + place[2] - rows[:, [2, 0]]
        self.levels[:, y0:y1, x0:x1] = levels
        # What shows of the picture itself.
        low, high = np.maximum(rows[0, :2], place[:2]), np.minimum(rows[0, 2:], place[2:])
        self._label(rows[1:], len(source.persons), np.concatenate((low, high)))

    def _label(self, rows: Float, persons: int, shown: Float) -> None:
        """Note boxes (n, 4), the first of them ``persons``, as far as ``shown`` (4,) has them."""
        cut = np.clip(rows, np.tile(shown[:2], 2), np.tile(shown[2:], 2))
        sides = cut[:, 2:] - cut[:, :2]
        seen = overlap_share(rows, shown[None])[:, 0]
        for i, box in enumerate(cut):
            large = sides[i].max() >= _LEAST and sides[i].min() >= 3
            if i < persons and seen[i] >= _VISIBLE and large:
                self.persons.append(box)
            elif seen[i] >= _TRACE and sides[i].min() > 0:
                self.unsure.append(box)
