"""How long every step takes, how old a frame is when it is done, and how each source fares."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edgepose.types import Float

_WINDOW = 20_000
_IDS = 256  # persons of a source that are remembered, so that none is counted twice


class Timing(NamedTuple):
    """Percentiles of one step in milliseconds, over ``frames`` frames."""

    stage: str
    frames: int
    p50: float
    p95: float
    p99: float


class Samples:
    """The last 20 000 seconds of something, in memory that does not grow."""

    def __init__(self) -> None:
        self._ring = np.full(_WINDOW, np.nan, np.float32)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, _WINDOW)

    def add(self, seconds: float) -> None:
        """Take one more; the oldest makes room."""
        self._ring[self._added % _WINDOW] = seconds
        self._added += 1

    @property
    def values(self) -> Float:
        """(n,) float32 seconds, in no order."""
        return self._ring[: len(self)]


@dataclass
class SourceStats:
    """One source's share. ``dropped``, ``state``, … are what its lifecycle last said."""

    name: str
    frames: int = 0
    dropped: int = 0
    state: str = "opening"
    reconnects: int = 0
    stalls: int = 0
    people: int = 0
    ages: Samples = field(default_factory=Samples, repr=False)
    _ids: deque[int] = field(default_factory=lambda: deque(maxlen=_IDS), repr=False)

    def age(self, percent: float) -> float:
        """A percentile of the frames' ages when their outputs were complete, milliseconds."""
        return float(np.percentile(self.ages.values, percent)) * 1e3 if self.ages else 0.0

    def saw(self, ids: list[int]) -> None:
        """Count whoever is new among ``ids``."""
        for number in ids:
            if number not in self._ids:
                self._ids.append(number)
                self.people += 1


class Stats:
    """Timings of a run. Written by the thread that consumes the results only.

    Whatever a result has timed becomes a row, in the order in which it was first seen. Percentiles
    cover the last 20 000 frames, so that a camera may run for months.
    """

    def __init__(self, *names: str) -> None:
        """``names``: of the sources."""
        self.frames = 0
        self.sources = [SourceStats(name) for name in names]
        self._started: float | None = None
        self._ended: float | None = None
        self._steps: dict[str, Samples] = {}

    def start(self) -> None:
        """Start the clock of the frame rate."""
        self._started = time.perf_counter()

    def frame_done(
        self, source: int, captured: float, seconds: dict[str, float], ids: list[int]
    ) -> None:
        """Count one frame whose outputs are complete, with what its steps took in seconds."""
        self._ended = time.perf_counter()
        self.frames += 1
        own = self.sources[source]
        own.frames += 1
        own.saw(ids)
        own.ages.add(self._ended - captured)
        for step, value in seconds.items():
            if step not in self._steps:
                self._steps[step] = Samples()
            self._steps[step].add(value)

    @property
    def dropped(self) -> int:
        """Frames of all sources that nobody saw."""
        return sum(source.dropped for source in self.sources)

    @property
    def people(self) -> int:
        """How many persons were followed, those of several sources counted separately."""
        return sum(source.people for source in self.sources)

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
        """One row per step, in the order of first sight, and the frame's age when it is done."""
        ages = np.concatenate([source.ages.values for source in self.sources])
        rows = [(step, samples.values) for step, samples in self._steps.items()]
        return [
            _timing(step, values) for step, values in [*rows, ("frame age", ages)] if len(values)
        ]


def _timing(step: str, values: Float) -> Timing:
    ms = np.percentile(values, (50, 95, 99)).astype(np.float64) * 1e3
    return Timing(step, len(values), *(float(v) for v in ms))
