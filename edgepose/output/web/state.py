"""What the page and the metrics show: numbers over the last seconds and minutes of a run."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edgepose.types import Result, RunInfo

_SHOWN = 120  # seconds of the latency plot
_RECENT = 5.0  # seconds that rates and ages cover
_SILENCE = 10.0  # without a result for so long a live run is not healthy
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class State:
    """Written by the sink's thread, read by the server's."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._begun = self._last = time.monotonic()
        # (when, source, age in seconds) of the results of the last seconds.
        self._recent: deque[tuple[float, int, float]] = deque()
        self._persons = [0] * len(run.sources)
        self._frames = [0] * len(run.sources)
        self._second = 0
        self._sums: dict[str, list[float]] = {}
        # One row a second: milliseconds of every stage.
        self._history: deque[dict[str, float]] = deque(maxlen=_SHOWN)
        self.registry = CollectorRegistry()
        self._metrics()

    def add(self, result: Result) -> None:
        """Count one result."""
        now, age = time.monotonic(), time.perf_counter() - result.captured
        name = self.run.sources[result.source].name
        with self._lock:
            self._last = now
            self._frames[result.source] += 1
            self._persons[result.source] = len(result.people)
            self._recent.append((now, result.source, age))
            self._forget(now)
            second = int(now - self._begun)
            if second != self._second and self._sums:
                means = {s: round(1e3 * sum(v) / len(v), 2) for s, v in self._sums.items()}
                self._history.append(means)
                self._second, self._sums = second, {}
            for stage, seconds in result.seconds.items():
                self._sums.setdefault(stage, []).append(seconds)
        self._results.labels(name).inc()
        self._people.labels(name).set(len(result.people))
        self._age.labels(name).observe(max(age, 0.0))
        for stage, seconds in result.seconds.items():
            self._stages.labels(stage).observe(seconds)

    @property
    def healthy(self) -> bool:
        """Whether results still come, as far as a live source promises them."""
        live = any(source.live for source in self.run.sources)
        return not live or time.monotonic() - self._last < _SILENCE

    def snapshot(self) -> dict[str, Any]:
        """Everything that the page shows, as plain data."""
        status = self.run.status() if self.run.status is not None else None
        with self._lock:
            now = time.monotonic()
            self._forget(now)
            recent, history = list(self._recent), list(self._history)
            frames, persons = list(self._frames), list(self._persons)
        span = max(min(_RECENT, now - self._begun), 1e-3)
        sources = []
        for n, source in enumerate(self.run.sources):
            ages = [age for _, own, age in recent if own == n]
            quiet = source.live and not ages
            sources.append(
                {
                    "name": source.name,
                    "live": source.live,
                    "size": [source.width, source.height],
                    "state": status[n].state if status else "stalled" if quiet else "running",
                    "frames": frames[n],
                    "dropped": status[n].dropped if status else 0,
                    "reconnects": status[n].reconnects if status else 0,
                    "persons": persons[n] if ages else 0,
                    "fps": round(len(ages) / span, 1),
                    "age": _percentiles(ages),
                }
            )
        return {
            "bundle": self.run.bundle,
            "backend": self.run.backend,
            "up": round(now - self._begun),
            "fps": round(len(recent) / span, 1),
            "age": _percentiles([age for _, _, age in recent]),
            "stages": history,
            "sources": sources,
        }

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > _RECENT:
            self._recent.popleft()

    def _metrics(self) -> None:
        home, by = self.registry, ("source",)
        self._results = Counter("edgepose_results", "Frames estimated.", by, registry=home)
        self._people = Gauge("edgepose_persons", "Persons in the last frame.", by, registry=home)
        self._age = Histogram(
            "edgepose_frame_age_seconds",
            "From capture to result.",
            by,
            registry=home,
            buckets=_BUCKETS,
        )
        self._stages = Histogram(
            "edgepose_stage_seconds",
            "What each stage takes.",
            ("stage",),
            registry=home,
            buckets=_BUCKETS,
        )
        dropped = Gauge("edgepose_dropped_frames", "Frames nobody saw.", by, registry=home)
        again = Gauge("edgepose_reconnects", "Times a source came back.", by, registry=home)
        running = Gauge("edgepose_source_running", "1 while frames come.", by, registry=home)
        for n, source in enumerate(self.run.sources):
            name = source.name
            self._results.labels(name)
            dropped.labels(name).set_function(partial(self._number, n, "dropped"))
            again.labels(name).set_function(partial(self._number, n, "reconnects"))
            running.labels(name).set_function(partial(self._number, n, "state"))

    def _number(self, source: int, what: str) -> float:
        value = self.snapshot()["sources"][source][what]
        return float(value == "running" if what == "state" else value)


def _percentiles(ages: Sequence[float]) -> list[float]:
    """p50 and p99 in milliseconds."""
    if not ages:
        return [0.0, 0.0]
    return [round(1e3 * float(v), 1) for v in np.percentile(ages, (50, 99))]
