"""How long every stage takes and how old a frame is when it is done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_WINDOW = 20_000

_FIRST = ("decode", "detect", "stage 1", "crop")
_LAST = ("track", "output", "frame age")


class Timing(NamedTuple):
    """Percentiles of one stage in milliseconds, over ``frames`` frames."""

    stage: str
    frames: int
    p50: float
    p95: float
    p99: float


class Stats:
    """Timings of a run. Written by the thread that consumes the results only.

    Percentiles cover the last 20 000 frames, so that a camera may run for months.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.dropped = 0
        self.people: set[int] = set()
        self._started: float | None = None
        self._ended: float | None = None
        self._samples: dict[str, deque[float]] = {}

    def start(self) -> None:
        """Start the clock of the frame rate."""
        self._started = time.perf_counter()

    def frame_done(self, captured: float, seconds: dict[str, float], ids: Iterable[int]) -> None:
        """Count one frame whose outputs are complete, with what its stages took in seconds."""
        self._ended = time.perf_counter()
        self.frames += 1
        self.people.update(ids)
        for stage, value in seconds.items():
            self._add(stage, value)
        self._add("frame age", self._ended - captured)

    def _add(self, stage: str, seconds: float) -> None:
        samples = self._samples.get(stage)
        if samples is None:
            samples = self._samples[stage] = deque(maxlen=_WINDOW)
        samples.append(seconds)

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the last finished frame."""
        if self._started is None or self._ended is None:
            return 0.0
        return self._ended - self._started

    @property
    def fps(self) -> float:
        """Finished frames per second of the whole run, 0 before the first."""
        return self.frames / self.elapsed if self.elapsed > 0 else 0.0

    def timings(self) -> list[Timing]:
        """One row per stage, in the order in which a frame passes them."""
        middle = [s for s in self._samples if s not in _FIRST and s not in _LAST]
        order = [*_FIRST, *middle, *_LAST]
        rows = []
        for stage in order:
            samples = self._samples.get(stage)
            if samples:
                ms = np.percentile(np.fromiter(samples, np.float64), (50, 95, 99)) * 1e3
                rows.append(Timing(stage, len(samples), *(float(v) for v in ms)))
        return rows
