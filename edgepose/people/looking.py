"""The detector on a thread of its own: it looks while the cascade goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from edgepose.cascade.workers import Workers
from edgepose.people.appearance import appearance
from edgepose.people.detector import PersonDetector
from edgepose.types import Float, Frame


class Seen(NamedTuple):
    """One frame: boxes and scores (n, 5), :func:`appearance` of the persons, and seconds."""

    frame: Frame
    found: Float
    colours: Float | None
    seconds: float


class Look:
    """What the detector finds in some frames, once it has looked."""

    def __init__(self, frames: Sequence[Frame], step: int, colours: bool) -> None:
        self.frames, self.step, self._colours = list(frames), step, colours
        self._seen: list[Seen] = []
        self._error: BaseException | None = None
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether :meth:`result` does not wait."""
        return self._done.is_set()

    def result(self) -> list[Seen]:
        """What is to be seen in each frame; waits, and raises what the detector did."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._seen

    def run(self, detector: PersonDetector) -> None:
        """Look; what goes wrong is raised where the result is waited for."""
        try:
            for frame in self.frames:
                start = time.perf_counter()
                found = detector(frame.image)
                colours = appearance(frame.image, found) if self._colours else None
                self._seen.append(Seen(frame, found, colours, time.perf_counter() - start))
        except BaseException as error:  # noqa: BLE001
            self._error = error
        finally:
            self._done.set()


class Lookout:
    """Runs a detector beside everything else; looks are done in the order of their beginning.

    ``colours``: whether anybody wants to know what the persons look like.
    """

    def __init__(self, detector: PersonDetector, colours: bool) -> None:
        self._colours = colours
        self._workers: Workers[Look] = Workers("detector", [lambda look: look.run(detector)])

    def begin(self, frames: Sequence[Frame], step: int) -> Look:
        """Look at ``frames`` of the estimator's step ``step``."""
        look = Look(frames, step, self._colours)
        self._workers.put(look)
        return look

    def close(self) -> None:
        """End the thread, after the look that is under way."""
        self._workers.close()
