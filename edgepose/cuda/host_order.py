"""Streams, events, captures and graphs of the device that is none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgepose.cuda.device import no_garbage
from edgepose.cuda.host_queue import Moment, Operation, Order, Queue, Queues
from edgepose.errors import DeviceError

Marks = Literal["launch", "node"]  # when a graph's event stands for a replay


@dataclass
class Recording:
    """A capture: its operations, and its graph once it has ended well."""

    stream: HostStream
    thread: int
    operations: list[Operation | HostEvent] = field(default_factory=list)
    lost: str = ""
    graph: HostGraph = field(init=False)


class HostStream(Queue):
    """Work in order."""

    def __init__(self, order: Scheduler, handle: int, priority: int) -> None:
        super().__init__()
        self.handle, self.priority, self._order = handle, priority, order

    def wait(self, event: HostEvent) -> None:
        """Make later work wait for the event as it is now."""
        with self._order.lock:
            recording = self._order.recording
            if recording is not None and recording.stream is self:
                if event.captured is not recording:
                    self._order.lose("the captured stream waits for an event from outside of it")
                return  # one stream: the order is there already
            if recording is not None and event.captured is recording:
                self._order.lose("a stream that is not captured waits for a captured event")
            if event.moment is not None:
                self._order.give(self, Operation(after=event.moment))

    def synchronize(self) -> None:
        """Wait for all of its work."""
        with self._order.lock:
            self._order.no_capture("wait")
            self._order.reach(Moment(self, self.given))


class HostEvent:
    """A moment in a stream's work."""

    def __init__(self, order: Scheduler, timing: bool) -> None:
        self.moment: Moment | None = None
        self.captured: Recording | None = None
        self._order, self._timing, self._time = order, timing, 0.0

    def record(self, stream: HostStream, external: bool = False) -> None:
        """Mark what the stream has been given so far."""
        with self._order.lock:
            recording = self._order.recording
            if recording is None or recording.stream is not stream:
                self.captured = None
                self.mark(stream)
            elif external:
                recording.operations.append(self)
            else:
                self.captured = recording

    def mark(self, stream: HostStream) -> None:
        """Record outside of a capture, or in a replay."""
        self.moment = Moment(stream, stream.given + 1)
        self._order.give(stream, Operation(self._stamp))

    def mark_late(self, stream: HostStream) -> None:
        """Record in a replay, and stand for the one before until the node has run."""

        def work() -> None:
            self.moment = Moment(stream, stream.done)
            self._stamp()

        self._order.give(stream, Operation(work))

    def _stamp(self) -> None:
        if self._timing:
            self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Wait until the marked work is done."""
        with self._order.lock:
            self._order.no_capture("wait")
            self._order.synchronisations += 1
            if self.moment is not None:
                self._order.reach(self.moment)

    def done(self) -> bool:
        """Whether the marked work is done."""
        with self._order.lock:
            self._order.no_capture("ask")
            return self.moment is None or self.moment.reached

    def seconds_since(self, earlier: HostEvent) -> float:
        """Time between two events with timing."""
        if not (self._time and earlier._time):
            raise DeviceError("the time between two events needs both made with timing, and done")
        return self._time - earlier._time


class HostGraph:
    """A record of operations; each reads its addresses when it runs."""

    def __init__(self, order: Scheduler, operations: Sequence[Operation | HostEvent]) -> None:
        self.nodes = len(operations)
        self._order, self._operations = order, tuple(operations)
        self._last: Moment | None = None
        self._open = True

    def launch(self, stream: HostStream) -> None:
        """Queue one replay, after the one before it."""
        with self._order.lock:
            if not self._open:
                raise DeviceError("this graph is closed; capture it again")
            if self._last is not None and self._last.queue is not stream:
                self._order.give(stream, Operation(after=self._last))
            for operation in self._operations:
                if isinstance(operation, Operation):
                    self._order.give(stream, operation)
                elif self._order.marks == "launch":
                    operation.mark(stream)
                else:
                    operation.mark_late(stream)
            self._order.launches += 1
            self._last = Moment(stream, stream.given)

    def close(self) -> None:
        """Forget it; DeviceError while it runs, where CUDA leaves open what happens."""
        with self._order.lock:
            if self._open and self._last is not None and not self._last.reached:
                raise DeviceError("a graph was closed while it runs; wait for its event first")
            self._open = False


class Scheduler(Queues):
    """The streams of one device; see :class:`edgepose.cuda.host.HostDevice` for the options."""

    def __init__(self, order: Order, seed: int, marks: Marks) -> None:
        super().__init__(order, seed)
        self.marks = marks
        self.recording: Recording | None = None
        self.launches = self.synchronisations = 0
        self._streams: dict[int, HostStream] = {}

    def stream(self, priority: int) -> HostStream:
        """A new stream."""
        with self.lock:
            stream = HostStream(self, 1000 + len(self._streams), priority)
            self._streams[stream.handle] = stream
            self.add(stream)
            return stream

    def run(self, handle: int, work: Callable[[], None]) -> None:
        """Give a stream work, or record it."""
        with self.lock:
            if handle not in self._streams:
                raise DeviceError(f"there is no stream {handle}")
            stream, recording = self._streams[handle], self.recording
            if recording is not None and recording.stream is stream:
                recording.operations.append(Operation(work))
            else:
                self.give(stream, Operation(work))

    @contextlib.contextmanager
    def capture(self, stream: HostStream) -> Iterator[Recording]:
        """Record what the block gives the stream."""
        own = self.recording
        if own is not None and own.thread == threading.get_ident():
            raise DeviceError("another capture is going on")
        with no_garbage():
            with self.lock:
                recording = self.recording = Recording(stream, threading.get_ident())
            try:
                yield recording
            finally:
                with self.lock:
                    self.recording = None
        if recording.lost:
            raise DeviceError(f"the capture is lost: {recording.lost}")
        recording.graph = HostGraph(self, recording.operations)

    def no_capture(self, what: str) -> None:
        """Refuse what breaks a capture of this thread."""
        recording = self.recording
        if recording is not None and recording.thread == threading.get_ident():
            self.lose(f"to {what} is not allowed inside")

    def lose(self, reason: str) -> None:
        """A capture that was broken: DeviceError, now and when it ends."""
        if self.recording is not None:
            self.recording.lost = reason
        raise DeviceError(f"the capture is lost: {reason}")
