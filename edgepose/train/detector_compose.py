"""Training canvases for the detector, composed of small annotated pictures.

The pictures are crops around persons, so persons in them are large and in the middle. A canvas
therefore holds one or several of them at any scale and place, on backgrounds without persons, with
person-free patches strewn between: a pasted rectangle's border must say nothing about a person. And
since a person takes up much the same part of every picture, many pictures are first made wider
without a seam, or a network would tell a person's size from the extent of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from edgepose.crop import crop
from edgepose.train.augment import MEAN
from edgepose.train.detector_board import MAX_IGNORE, Board, mirrored, solid
from edgepose.train.detector_data import LabelledPicture, box_rows, free_patches, overlap_share
from edgepose.train.detector_light import degraded, tinted
from edgepose.train.detector_turn import turn, widen
from edgepose.types import Float

_GREY = MEAN[0]  # normalises to 0: it also pads a letterboxed frame


class Composer:
    """Makes canvases (3, S, S) float32 RGB in 8-bit levels, with persons and unsure boxes."""

    def __init__(self, sources: Sequence[LabelledPicture], size: int, seed: int) -> None:
        self.size = size
        self.sources = sources
        self.peopled = [i for i, s in enumerate(sources) if len(s.persons)]
        self.patches = free_patches(sources)
        self.random = np.random.default_rng(seed)

    def canvas(self, empty: bool | None = None) -> tuple[Float, Float, Float]:
        """One canvas with its persons (n, 4) and unsure regions (m, 4) in pixels.

        ``empty`` True leaves persons out, None does so in one of twelve.
        """
        rng, size = self.random, self.size
        if empty or (empty is None and rng.random() < 0.08):
            canvas = self._background()
            self._strew(canvas, int(rng.integers(1, 7)))
            return degraded(canvas, rng), box_rows([]), box_rows([])
        board = Board(size)
        if rng.random() < 0.5:
            source = self._pick()
            canvas = self._blurred(source) if rng.random() < 0.6 else self._background()
            wide = rng.random() < 0.75
            scene = turn(widen(source, rng) if wide else source, rng)
            person = scene.persons[rng.integers(len(scene.persons))]
            side = float(max(person[2:] - person[:2]))
            low, high = (0.15, 0.9) if wide else (0.35, 1.25)
            zoom = size * float(np.exp(rng.uniform(np.log(low), np.log(high)))) / side
            h, w = scene.picture.shape[:2]
            # The person's centre lies on the canvas; the rest of the picture where it falls.
            at = rng.uniform(0.2, 0.8, 2) * size
            at = at * (1 - min(zoom * side / size, 1)) + size / 2 * min(zoom * side / size, 1)
            corner = at - zoom * (person[:2] + person[2:]) / 2
            self._paste(canvas, board, scene, np.array([0, 0, w, h], np.float32), corner, zoom)
            if rng.random() < 0.5:
                self._strew(canvas, int(rng.integers(1, 3)), board)
            if rng.random() < 0.3:
                self._add(canvas, board, 1)
        else:
            canvas = self._background()
            self._strew(canvas, int(rng.integers(0, 5)))
            self._add(canvas, board, int(rng.integers(1, 6)))
        persons, unsure = board.labels()
        if rng.random() < 0.5:
            canvas = canvas[:, :, ::-1]
            persons, unsure = mirrored(persons, size), mirrored(unsure, size)
        return self._padded(degraded(np.ascontiguousarray(canvas), rng), persons, unsure)

    def _padded(self, canvas: Float, persons: Float, unsure: Float) -> tuple[Float, Float, Float]:
        """Cover two sides of some canvases with the grey that letterboxes a frame."""
        rng, size = self.random, self.size
        if rng.random() > 0.4:
            return canvas, persons, unsure
        margin = int(size * rng.choice([7 / 32, 1 / 8, rng.uniform(0.02, 0.25)]))
        if rng.random() < 0.7:  # portrait: more often, as it leaves least of the canvas
            frame = np.array([margin, 0, size - margin, size], np.float32)
            canvas[:, :, :margin] = canvas[:, :, size - margin :] = _GREY
        else:
            frame = np.array([0, margin, size, size - margin], np.float32)
            canvas[:, :margin] = canvas[:, size - margin :] = _GREY
        low, high = np.tile(frame[:2], 2), np.tile(frame[2:], 2)
        left = overlap_share(persons, frame[None])[:, 0]
        cut = np.clip(persons, low, high)
        unsure = np.concatenate((cut[(left < 0.45) & (left > 0.05)], np.clip(unsure, low, high)))
        return canvas, cut[left >= 0.45], solid(unsure)[:MAX_IGNORE]

    def _pick(self) -> LabelledPicture:
        return self.sources[self.peopled[self.random.integers(len(self.peopled))]]

    def _add(self, canvas: Float, board: Board, count: int) -> None:
        """Paste ``count`` windows around persons, of any scale, where they cover little."""
        rng, size = self.random, self.size
        for _ in range(count):
            wide = rng.random() < 0.4
            scene = turn(widen(self._pick(), rng) if wide else self._pick(), rng)
            h, w = scene.picture.shape[:2]
            person = scene.persons[rng.integers(len(scene.persons))]
            extent = person[2:] - person[:2]
            # Window borders run anywhere from inside the person to the picture's edge.
            far = 2.0 if wide else 0.5
            reach = extent * rng.uniform(-0.12, far, 2), extent * rng.uniform(-0.12, far, 2)
            if rng.random() < 0.3:
                reach = np.array([w, h]), np.array([w, h])
            window = np.concatenate((person[:2] - reach[0], person[2:] + reach[1]))
            window = np.clip(window, 0, [w, h, w, h]).astype(np.float32)
            low, high = np.log(0.09), np.log(0.95 if count == 1 else 0.7)
            zoom = size * float(np.exp(rng.uniform(low, high))) / float(max(extent))
            sides = zoom * (window[2:] - window[:2])
            for _ in range(4):
                corner = rng.uniform(-0.15, 1.15, 2) * size - sides / 2
                if not board.hides(np.concatenate((corner, corner + sides))):
                    self._paste(canvas, board, scene, window, corner, zoom)
                    break

    def _paste(
        self,
        canvas: Float,
        board: Board,
        scene: LabelledPicture,
        window: Float,
        corner: Any,
        zoom: float,
    ) -> None:
        """Scale ``window`` of a scene by ``zoom`` and lay it down at ``corner`` (x, y) pixels."""
        stretch = np.exp(self.random.normal(0, 0.06, 2)) * zoom
        place = np.concatenate((corner, corner + stretch * (window[2:] - window[:2])))
        shown = self._lay(canvas, scene.picture, window, place)
        if shown is None:
            return

        def moved(boxes: Float) -> Float:
            offset = np.tile(np.asarray(corner) - window[:2] * stretch, 2)
            return np.asarray(boxes * np.tile(stretch, 2) + offset, np.float32)

        board.cover(shown)
        board.add(moved(scene.persons), moved(scene.unsure), shown)

    def _lay(self, canvas: Float, picture: Any, window: Float, place: Any) -> Float | None:
        """Resample ``window`` of a picture onto ``place`` of the canvas; the part that shows."""
        size = self.size
        shown = np.array(
            [*np.clip(np.round(place[:2]), 0, size), *np.clip(np.round(place[2:]), 0, size)],
            np.float32,
        )
        x0, y0, x1, y1 = shown.astype(int)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return None
        factor = (window[2:] - window[:2]) / np.maximum(place[2:] - place[:2], 1e-3)
        box = np.concatenate(
            (
                window[:2] + (shown[:2] - place[:2]) * factor,
                window[:2] + (shown[2:] - place[:2]) * factor,
            )
        )
        patch = crop(picture, box[None], (y1 - y0, x1 - x0))[0]
        if self.random.random() < 0.3:
            patch = np.clip(tinted(patch, self.random), 0, 255)
        under = canvas[:, y0:y1, x0:x1]
        if self.random.random() < 0.5:
            soft = self._feather(y1 - y0, x1 - x0)
            patch = under + soft * (patch - under)
        canvas[:, y0:y1, x0:x1] = patch
        return shown

    def _feather(self, h: int, w: int) -> Float:
        """Weights (h, w) that rise from 0 at the border over a random few pixels."""
        width = self.random.uniform(1, max(2, 0.12 * min(h, w)))
        x = np.minimum(np.arange(w) + 0.5, w - np.arange(w) - 0.5) / width
        y = np.minimum(np.arange(h) + 0.5, h - np.arange(h) - 0.5) / width
        return np.asarray(np.clip(np.minimum(x[None], y[:, None]), 0, 1), np.float32)

    def _blurred(self, source: LabelledPicture) -> Float:
        """The picture itself, too blurred to know anybody in it, over the whole canvas."""
        h, w = source.picture.shape[:2]
        cells = int(self.random.integers(3, 7))
        small = crop(source.picture, np.array([[0, 0, w, h]]), cells)[0]
        return self._grown(small)

    def _grown(self, small: Float) -> Float:
        levels = np.ascontiguousarray(small.transpose(1, 2, 0))
        big = cv2.resize(levels, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(np.clip(big, 0, 255).transpose(2, 0, 1), np.float32)

    def _background(self) -> Float:
        """A surface without persons: one or two stretched patches, a gradient, colour or noise."""
        rng, size = self.random, self.size
        kind = rng.random()
        if kind < 0.6 and self.patches:
            canvas = self._patch(size, size)
            if rng.random() < 0.5:
                cut = int(rng.uniform(0.2, 0.8) * size)
                if rng.random() < 0.6:
                    canvas[:, cut:] = self._patch(size - cut, size)
                else:
                    canvas[:, :, cut:] = self._patch(size, size - cut)
            return canvas
        if kind < 0.75:
            return self._blurred(self._pick())
        if kind < 0.9:
            return self._grown(rng.uniform(0, 255, (3, 2, 2)).astype(np.float32))
        flat = np.empty((3, size, size), np.float32)
        flat[:] = rng.uniform(0, 255, (3, 1, 1))
        if kind < 0.95:
            return flat
        cells = int(rng.integers(4, size))
        noise = rng.normal(0, rng.uniform(5, 60), (3, cells, cells)).astype(np.float32)
        return np.asarray(np.clip(flat + self._grown(noise + 128) - 128, 0, 255), np.float32)

    def _patch(self, h: int, w: int) -> Float:
        """A random part of a person-free patch, resampled to (3, h, w)."""
        rng = self.random
        patch = self.patches[rng.integers(len(self.patches))]
        low, high = patch.box[:2], patch.box[2:]
        share = rng.uniform(0.5, 1.0, 2)
        start = low + (high - low) * (1 - share) * rng.random(2)
        box = np.concatenate((start, start + (high - low) * share))
        out: Float = crop(self.sources[patch.source].picture, box[None], (h, w))[0]
        return out[:, :, ::-1].copy() if rng.random() < 0.5 else out

    def _strew(self, canvas: Float, count: int, board: Board | None = None) -> None:
        """Lay down person-free patches and plain shapes, of the sizes that persons have."""
        rng, size = self.random, self.size
        for _ in range(count):
            long = size * float(np.exp(rng.uniform(np.log(0.08), np.log(0.8))))
            w, h = long * np.exp(rng.uniform(np.log(0.25), 0)), long
            if rng.random() < 0.3:
                w, h = h, w
            corner = rng.uniform(-0.1, 1.1, 2) * size - np.array([w, h]) / 2
            place = np.concatenate((corner, corner + np.array([w, h])))
            if board is not None:
                if board.hides(place, 0.3):
                    continue
                board.cover(np.clip(place, 0, size))
            if rng.random() < 0.7 and self.patches:
                patch = self.patches[rng.integers(len(self.patches))]
                self._lay(canvas, self.sources[patch.source].picture, patch.box, place)
            else:
                self._shape(canvas, place)

    def _shape(self, canvas: Float, place: Any) -> None:
        rng = self.random
        colour = rng.uniform(0, 255, 3)
        x0, y0, x1, y1 = (int(v) for v in place)
        image = np.ascontiguousarray(canvas.transpose(1, 2, 0))
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(image, (x0, y0), (x1, y1), colour.tolist(), -1)
        elif kind == 1:
            middle, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
            cv2.ellipse(image, middle, axes, rng.uniform(-20, 20), 0, 360, colour.tolist(), -1)
        else:
            width = int(rng.integers(1, max(2, (x1 - x0) // 4 + 2)))
            cv2.line(image, (x0, y0), (x1, y1), colour.tolist(), width, cv2.LINE_AA)
        canvas[:] = image.transpose(2, 0, 1)
