"""Batches for the detector: whole pictures in both orientations, and composed canvases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from edgepose.train.augment import MEAN, STD
from edgepose.train.detector_compose import Composer
from edgepose.train.detector_data import LabelledPicture
from edgepose.train.detector_scenes import SceneCanvases
from edgepose.train.distributed import Processes
from edgepose.train.loop import Batch
from edgepose.types import Float

_MOST = 40  # boxes of a kind on a canvas
_LANDSCAPE = 0.6  # share of the batches from whole pictures


class Batches:
    """Endless batches: ``image`` (B, 3, H, W) normalised, ``truth`` and ``ignore`` (B, 40, 4).

    Canvas i of batch t is the same whatever the number of processes, and after a resume.

    ``size`` is a landscape input's (height, width); a portrait one's is exchanged, and composed
    canvases are squares of about that area. ``composed`` is their share among the batches.
    """

    def __init__(
        self,
        sources: Sequence[LabelledPicture],
        size: tuple[int, int],
        count: int,
        seed: int,
        composed: float,
    ) -> None:
        self._size, self._count, self._seed = size, count, seed
        crops = [s for s in sources if not s.whole]
        scenes = [s for s in sources if s.whole]
        self._scenes = SceneCanvases(scenes, crops, seed) if scenes else None
        side = round((size[0] * size[1]) ** 0.5 / 32) * 32
        # Rooms without a person make good backgrounds.
        bare = [s for s in scenes if not len(s.persons)]
        self._composer = Composer([*crops, *bare], side, seed) if crops else None
        self._composed = composed if scenes else 1.0

    def __call__(self, step: int, processes: Processes) -> Iterator[Batch]:
        """Batches from ``step`` on; of each, this process's share."""
        own = processes.share(self._count)
        while True:
            first = step * self._count + processes.rank * own
            yield self._batch(step, range(first, first + own))
            step += 1

    def _batch(self, step: int, numbers: Sequence[int]) -> Batch:
        random = np.random.default_rng((self._seed, 0, step))
        height, width = self._size
        scenes, composer = self._scenes, self._composer
        if scenes is None or (composer is not None and random.random() < self._composed):
            scenes = None
        elif random.random() >= _LANDSCAPE:
            height, width = width, height
        canvases = []
        for number in numbers:
            own = np.random.default_rng((self._seed, 1, number))
            if scenes is not None:
                scenes.random = own
                canvases.append(scenes.canvas(height, width))
            else:
                assert composer is not None
                composer.random = own
                canvases.append(composer.canvas())
        return _stacked(canvases)


def _stacked(canvases: Sequence[tuple[Float, Float, Float]]) -> Batch:
    image = np.stack([canvas for canvas, _, _ in canvases])
    truth, ignore = np.zeros((2, len(canvases), _MOST, 4), np.float32)
    for i, (_, persons, unsure) in enumerate(canvases):
        truth[i, : len(persons)] = persons[:_MOST]
        ignore[i, : len(unsure)] = unsure[:_MOST]
    image -= np.array(MEAN, np.float32)[:, None, None]
    image /= np.array(STD, np.float32)[:, None, None]
    return {
        "image": torch.from_numpy(image),
        "truth": torch.from_numpy(truth),
        "ignore": torch.from_numpy(ignore),
    }
