"""How long every step takes, how old a frame is when it is done, and how each source fares."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

_WINDOW = 20_000


class Timing(NamedTuple):
    """Percentiles of one step in milliseconds, over ``frames`` frames."""

    stage: str
    frames: int
    p50: float
    p95: float
    p99: float


def _samples() -> deque[float]:
    return deque(maxlen=_WINDOW)


@dataclass
class SourceStats:
    """One source's share. ``dropped``, ``state``, … are what its lifecycle last said."""

    name: str
    frames: int = 0
    dropped: int = 0
    state: str = "opening"
    reconnects: int = 0
    stalls: int = 0
    people: set[int] = field(default_factory=set)
    ages: deque[float] = field(default_factory=_samples, repr=False)

    def age(self, percent: float) -> float:
        """A percentile of the frames' ages when their outputs were complete, milliseconds."""
        if not self.ages:
            return 0.0
        return float(np.percentile(np.fromiter(self.ages, np.float64), percent)) * 1e3


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
        self._steps: dict[str, deque[float]] = {}

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
        own.people.update(ids)
        own.ages.append(self._ended - captured)
        for step, value in seconds.items():
            self._steps.setdefault(step, _samples()).append(value)

    @property
    def dropped(self) -> int:
        """Frames of all sources that nobody saw."""
        return sum(source.dropped for source in self.sources)

    @property
    def people(self) -> int:
        """How many persons were followed, those of several sources counted separately."""
        return sum(len(source.people) for source in self.sources)

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
        ages = [age for source in self.sources for age in source.ages]
        rows: list[tuple[str, Sequence[float]]] = [*self._steps.items(), ("frame age", ages)]
        return [_timing(step, samples) for step, samples in rows if samples]


def _timing(step: str, samples: Sequence[float]) -> Timing:
    ms = np.percentile(np.fromiter(samples, np.float64), (50, 95, 99)) * 1e3
    return Timing(step, len(samples), *(float(v) for v in ms))
