"""All outputs of a run: each sink at its own pace, and what happens when one fails.

A sink has a thread and a bounded queue of its own, so that a slow encoder or disk holds nobody up;
sinks that need the main thread are used by the caller. Skeletons are drawn once, into a copy that
all sinks with pictures share.

The rules. A run with a live source drops results for a sink that is behind, and counts them; a run
over files waits for it. A sink that fails is reported. In a live run it is tried again, after 1
second, then 2, 4, … up to a minute, and what it missed is counted; in a run over files, or when its
reader has gone for good, it is closed. None of it stops the others, and the run ends only when no
sink is left.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgepose.errors import OutputError
from edgepose.output.overlay import Overlay
from edgepose.output.sink import Sink, without_pixels
from edgepose.output.worker import Worker
from edgepose.types import Result, RunInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """A sink, the option that asked for it, and how it wants to be used; see ``open.Kind``."""

    option: str
    sink: Sink
    drawn: bool = False
    main: bool = False


class Outputs:
    """The sinks of one run. Start, write and close on one thread: the main one."""

    def __init__(self, placed: Sequence[Placed]) -> None:
        self.placed = tuple(placed)
        self.workers: list[Worker] = []
        self.error: OutputError | None = None
        self._overlay: Overlay | None = None

    def start(self, run: RunInfo) -> None:
        """Start every sink, or none: OutputError from the first that cannot."""
        live = any(source.live for source in run.sources)
        if any(place.drawn for place in self.placed):
            self._overlay = Overlay(run.skeleton)
        started: list[Sink] = []
        try:
            for place in self.placed:
                started.append(place.sink)
                place.sink.start(run)
        except BaseException:
            for sink in started:
                _close_quietly(sink)
            raise
        self.workers = [Worker(p.option, p.sink, live, p.drawn, not p.main) for p in self.placed]

    def write(self, result: Result) -> bool:
        """Give ``result`` to every sink; False once there were some and none is left."""
        drawn: Result | None = None
        for worker in self.workers:
            if not worker.sink.pixels:
                given = without_pixels(result)
            elif worker.drawn and worker.alive and self._overlay is not None:
                if drawn is None:
                    picture = self._overlay.draw(result.frame.copy(), result.people)
                    drawn = replace(result, image=picture)
                given = drawn
            else:
                given = result
            worker.write(given)
            if worker.crash is not None:
                raise worker.crash
        return not self.workers or any(w.alive for w in self.workers)

    def close(self) -> None:
        """Write what is waiting and finish every sink; may be called again.

        ``error`` then tells what went wrong with the first sink that lost anything.
        """
        for worker in self.workers:
            worker.finish()
        for worker in self.workers:
            self.error = worker.join() or self.error
            if worker.crash is not None:
                raise worker.crash


def _close_quietly(sink: Sink) -> None:
    try:
        sink.close()
    except OutputError as error:
        log.debug("%s", error)
