"""How far a build is, from the phases that TensorRT reports."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class BuildProgress:
    """Collects the builder's phases, told from its thread; read from any other.

    A phase takes one step of the phase that it lies in. TensorRT does not say how long a step
    takes, so the time left is an estimate: as if all steps of a phase took the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: list[tuple[str, int, int]] = []  # name, steps, done; outermost first
        self._best = 0.0
        self._cancelled = False
        self._start = time.monotonic()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._phases.append((phase, max(steps, 1), 0))

    def step(self, phase: str, step: int) -> bool:
        """A step is done; False once the build is to be broken off."""
        with self._lock:
            for i, (name, steps, _) in enumerate(self._phases):
                if name == phase:
                    self._phases[i] = (name, steps, min(step + 1, steps))
            return not self._cancelled

    def finish(self, phase: str) -> None:
        """A phase is over."""
        with self._lock:
            self._phases = [p for p in self._phases if p[0] != phase]

    def cancel(self) -> None:
        """Have the builder stop at its next step."""
        with self._lock:
            self._cancelled = True

    @property
    def phase(self) -> str:
        """The innermost phase; empty between phases."""
        with self._lock:
            return self._phases[-1][0] if self._phases else ""

    @property
    def fraction(self) -> float:
        """Share that is done, in [0, 1]; never goes back."""
        with self._lock:
            done, share = 0.0, 1.0
            for _, steps, finished in self._phases:
                share /= steps
                done += finished * share
            self._best = max(self._best, min(done, 1.0))
            return self._best

    @property
    def elapsed(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._start

    @property
    def remaining(self) -> float | None:
        """Estimated seconds left; None as long as nothing is done."""
        fraction = self.fraction
        return self.elapsed * (1 - fraction) / fraction if fraction > 0.01 else None


class Silent:
    """A report that nobody reads."""

    def waiting(self, folder: Path) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def building(self, network: object, tracker: BuildProgress) -> None:
        """Do nothing."""

    def built(self, network: object) -> None:
        """Do nothing."""
