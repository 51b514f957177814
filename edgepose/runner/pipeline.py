"""Capture, inference and output side by side: threads, and the caller's own.

``sources → a capture thread each → collector → inference thread → channel → the caller``. OpenCV
and the networks let go of the interpreter, so decoding the next frame overlaps with estimating this
one and with drawing or encoding the one before. The outputs run on the caller's thread because
windows must be on the main thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from edgepose.people.estimator import Estimator
from edgepose.runner.capture import Capture, Feed
from edgepose.runner.channel import Channel, EndOfStreamError
from edgepose.runner.collect import Collector
from edgepose.runner.lifecycle import Patience
from edgepose.runner.policy import ALL, LATEST, DropPolicy
from edgepose.runner.statistics import Stats
from edgepose.types import Frame, Result

# How long a stopped run waits for a camera or server that does not answer.
_PATIENCE = 2.0


class Pipeline:
    """One run; iterate it once for the results, those of a source in order.

    A source that fails does not stop the others: its error is raised when all have ended, after
    every result. An error of the estimator is raised at once. Closing (or leaving the ``with``
    block) stops the threads; it is safe at any time.

    Args:
        feeds: open sources, numbered in their order. The pipeline reads them and closes what it has
            opened again itself; their owner closes the others afterwards.
        estimator: made for these sources; it is closed with the pipeline.
        policy: what becomes of live frames while there is no time for them.
        max_frames: stop after so many results of a source.
        patience: with live sources that stall or break off.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        estimator: Estimator,
        *,
        policy: DropPolicy = LATEST,
        max_frames: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        live = [feed.source.live for feed in feeds]
        self._estimator, self._max_frames = estimator, max_frames
        self._collector = Collector([(policy if alive else ALL, alive) for alive in live])
        estimator.wake = self._collector.wake
        self.captures = [
            Capture(number, feed, self._collector, patience, estimator.pool)
            for number, feed in enumerate(feeds)
        ]
        self.stats = Stats(*(feed.source.name for feed in feeds))
        # A live result that waits is one that grows old.
        self._results: Channel[Result] = Channel(len(feeds) if any(live) else 2 * len(feeds))
        self._stopping = False
        self._thread = threading.Thread(target=self._infer, name="edgepose-inference", daemon=True)

    def stop(self) -> None:
        """Read no further; results on their way still arrive. May be called in a signal handler."""
        self._stopping = True
        for capture in self.captures:
            capture.stop()

    def __iter__(self) -> Iterator[Result]:
        self.stats.start()
        for capture in self.captures:
            capture.start()
        self._thread.start()
        stopped = None
        while True:
            try:
                result = self._results.get(timeout=0.2)
            except EndOfStreamError:
                break
            except TimeoutError:
                self.observe()
                if self._stopping:
                    stopped = stopped or time.monotonic()
                    if time.monotonic() - stopped > _PATIENCE:
                        return
                continue
            begun = time.perf_counter()
            yield result
            source, seconds, captured = result.source, result.seconds, result.captured
            ids = [p.id for p in result.people]
            # The frame must not live on while the next result is waited for.
            del result
            seconds["output"] = time.perf_counter() - begun
            self.stats.frame_done(source, captured, seconds, ids)
            self.observe()
        self.observe()
        for capture in self.captures:
            if capture.error is not None:
                raise capture.error

    @property
    def expected(self) -> int | None:
        """How many results there will be, where somebody knows."""
        total = 0
        for capture in self.captures:
            source = capture.source
            known = [n for n in (source.length, self._max_frames) if n is not None]
            if source.live or not known:
                return None
            total += min(known)
        return total

    def observe(self) -> None:
        """Bring what the statistics say of the sources up to date."""
        for capture, own in zip(self.captures, self.stats.sources, strict=True):
            lifecycle = capture.lifecycle
            own.state = lifecycle.state.value
            own.reconnects, own.stalls = lifecycle.reconnects, lifecycle.stalls
            own.dropped = self._collector.dropped(capture.number)

    def close(self) -> None:
        """Stop the threads and forget what is on its way."""
        self.stop()
        self._collector.cancel()
        self._results.cancel()
        for capture in self.captures:
            capture.join(_PATIENCE)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)
        if not self._thread.is_alive():
            self._estimator.close()

    @property
    def reading(self) -> bool:
        """Whether a capture thread still holds its source."""
        return any(capture.reading for capture in self.captures)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _infer(self) -> None:
        estimator, taken = self._estimator, Counter[int]()
        try:
            while True:
                try:
                    frames = self._collector.get(
                        lambda: estimator.ready_at, lambda: estimator.waiting
                    )
                except EndOfStreamError:
                    break
                if frames:
                    estimator.submit(frames)
                    self._count(frames, taken)
                del frames
                if not self._give(estimator.results()):
                    return
            self._give(estimator.flush())
        except BaseException as error:  # noqa: BLE001 - it is raised on the caller's thread
            self._results.finish(error)
        finally:
            self._results.finish()
            self._collector.cancel()

    def _count(self, frames: list[Frame], taken: Counter[int]) -> None:
        for frame in frames:
            taken[frame.source] += 1
            if taken[frame.source] == self._max_frames:
                self._collector.end(frame.source, forget=True)

    def _give(self, results: list[Result]) -> bool:
        while results:
            if not self._results.put(results.pop(0)):
                return False
        return True
