"""A thread per source: reads frames, hands them over, opens a lost live source again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgepose.errors import SourceError
from edgepose.runner.collect import Collector
from edgepose.runner.lifecycle import Lifecycle, Patience
from edgepose.sources.source import Source
from edgepose.types import BufferPool


@dataclass(frozen=True)
class Feed:
    """An open source, and how a live one is opened again when it is lost (None: it is not)."""

    source: Source
    reopen: Callable[[], Source] | None = None


class Capture:
    """One source of a run. Index and time of its frames run on over what was lost."""

    def __init__(
        self,
        number: int,
        feed: Feed,
        collector: Collector,
        patience: Patience | None = None,
        pool: BufferPool | None = None,
    ) -> None:
        """``pool``: where the frames should lie."""
        self.number, self.source = number, feed.source
        self.lifecycle = Lifecycle(feed.source.name, feed.source.live, patience)
        self.error: BaseException | None = None
        self._reopen, self._collector, self._pool = feed.reopen, collector, pool
        self._stopping = threading.Event()
        self._next_index, self._began = 0, 0.0
        self._thread = threading.Thread(
            target=self._run, name=f"edgepose-capture-{number}", daemon=True
        )

    @property
    def reading(self) -> bool:
        """Whether the thread still holds the source."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no further than the next frame."""
        self._stopping.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread; a device that does not answer is left to the process's end."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            lost = self._read()
            while lost is not None and self._again(lost):
                lost = self._read()
            self.lifecycle.ended()
        except BaseException as error:  # noqa: BLE001 - it is raised on the caller's thread
            self.error = error
            self.lifecycle.failed(str(error))
        finally:
            self._collector.end(self.number)

    def _read(self) -> str | None:
        """Hand over frames until the source ends; why, if it is to be opened again."""
        begun = time.perf_counter()
        offset, self.source.pool = self._next_index, self._pool
        try:
            for frame in self.source:
                now = time.perf_counter()
                if self.lifecycle.live:
                    # Its own clock starts anew when it is opened again; this one goes on.
                    self._began = self._began or frame.captured - frame.time
                    frame.time = frame.captured - self._began
                frame.index += offset
                frame.source = self.number
                # A camera's frame is waited for, too: that is no decoding.
                frame.seconds["capture" if self.lifecycle.live else "decode"] = now - begun
                self._next_index = frame.index + 1
                self.lifecycle.frame()
                if self._stopping.is_set() or not self._collector.put(frame):
                    return None
                del frame
                begun = time.perf_counter()
        except SourceError as error:
            if self._stopping.is_set():
                return None
            if not self.lifecycle.live or self._reopen is None:
                raise
            return str(error)
        return None

    def _again(self, reason: str) -> bool:
        """Open the source again, for as long as it takes; False when the run is over before."""
        assert self._reopen is not None
        while True:
            self.source.close()
            wait = self.lifecycle.lost(reason)
            if wait is None:
                raise SourceError(reason)
            if self._stopping.wait(wait):
                return False
            self.lifecycle.opening()
            try:
                self.source = self._reopen()
            except SourceError as error:
                reason = str(error)
                continue
            return True
