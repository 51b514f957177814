"""One sink at its own pace; see :mod:`edgepose.output.outputs` for the rules."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from edgepose.errors import OutputError
from edgepose.output.sink import GoneError, Sink, has_pixels
from edgepose.types import Result

log = logging.getLogger(__name__)

# Results that wait for a sink: frames are megabytes, the rest is small.
_WAITING_FRAMES, _WAITING = 4, 256
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# How long the end of a run waits for a sink that hangs.
_PATIENCE = 20.0


class Worker:
    """Feeds one sink: on a thread of its own, or on the caller's.

    ``alive`` turns false when the sink takes no more. ``written`` counts results, ``late`` those
    dropped because the sink was behind, ``lost`` those it failed on; ``seconds`` is what it took in
    all. ``crash`` is an error that is none of the user's: a fault in the sink.
    """

    def __init__(self, option: str, sink: Sink, live: bool, drawn: bool, threaded: bool) -> None:
        self.option, self.sink, self.drawn = option, sink, drawn
        self.alive = True
        self.written = self.late = self.lost = 0
        self.seconds = 0.0
        self.error: OutputError | None = None
        self.crash: BaseException | None = None
        self._live = live
        self._pause, self._resume = 0.0, 0.0
        self._missed = 0
        self._queue: deque[Result] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._finished = False
        self._thread: threading.Thread | None = None
        if threaded:
            name = f"edgepose-output{option}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def write(self, result: Result) -> None:
        """Hand ``result`` over."""
        if self._thread is None:
            self._feed(result)
            return
        most = _WAITING_FRAMES if has_pixels(result) else _WAITING
        with self._changed:
            while len(self._queue) >= most and self.alive and not self._finished:
                if self._live:
                    self.late += 1
                    return
                self._changed.wait()
            if self.alive:
                self._queue.append(result)
                self._changed.notify_all()

    def finish(self) -> None:
        """No result follows."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
        if self._thread is None:
            self._close()

    def join(self) -> OutputError | None:
        """Wait for the sink to finish; what went wrong, if anything was lost."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                return OutputError(
                    f"{self.option} does not finish: what it writes to hangs; what it had written "
                    "is there."
                )
        return self.error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised on the caller's thread
            self.crash = error
            self._stop()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._finished:
                    self._changed.wait()
                if not self._queue:
                    break
                result = self._queue.popleft()
                self._changed.notify_all()
            self._feed(result)
            # Not held while the next one is waited for: a frame is megabytes.
            del result
            if not self.alive:
                break
        self._close()

    def _feed(self, result: Result) -> None:
        if not self.alive:
            return
        if time.monotonic() < self._resume:
            self._lose()
            return
        begun = time.perf_counter()
        try:
            more = self.sink.write(result)
        except OutputError as error:
            self._failed(error)
            return
        finally:
            self.seconds += time.perf_counter() - begun
        self.written += 1
        if self._missed:
            log.warning("%s goes on; %d results were lost.", self.option, self._missed)
        self._missed, self._pause = 0, 0.0
        if not more:
            self._stop()

    def _lose(self) -> None:
        self.lost += 1
        self._missed += 1

    def _failed(self, error: OutputError) -> None:
        self._lose()
        self.error = self.error or error
        if isinstance(error, GoneError) or not self._live:
            # A run over files ends with this sentence, a live one goes on.
            log.log(logging.WARNING if self._live else logging.INFO, "%s", error)
            self._stop()
            return
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
        self._resume = time.monotonic() + self._pause
        log.warning("%s Trying again in %g s.", error, self._pause)

    def _stop(self) -> None:
        with self._changed:
            self.alive = False
            self._queue.clear()
            self._changed.notify_all()
        if self._thread is None:
            self._close()

    def _close(self) -> None:
        try:
            self.sink.close()
        except OutputError as error:
            self.error = self.error or error
