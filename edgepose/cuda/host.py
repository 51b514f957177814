"""A device with no GPU: host memory, the kernels' own sources built by g++, in-order queues.

It is for tests and for machines without a GPU, and as strict as a GPU is not. An operation runs as
late as the order that was asked for allows (or as soon, or at random), so an order that was
forgotten gives other results. Memory begins as NaN and is NaN again when it was freed. A replay
reads its addresses when it runs. What CUDA leaves undefined is a DeviceError here: memory that was
freed or never allocated, a copy from memory that is not pinned, waiting inside a capture, a graph
closed while it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.cuda.device import Facts, size_of
from edgepose.cuda.host_memory import HostMemory
from edgepose.cuda.host_order import HostEvent, HostStream, Marks, Recording, Scheduler
from edgepose.cuda.host_queue import Order
from edgepose.cuda.kernels import Kernels
from edgepose.errors import DeviceError


class HostDevice:
    """Device memory, streams and graphs on the host.

    ``order``: when work runs that nobody waited for yet: "late" (not before somebody does), "soon"
    (at once where nothing has to be waited for) or "random", by ``seed``. ``marks``: when a graph's
    events stand for a replay: from its "launch" on, or not before their "node" has run, which CUDA
    does not rule out. ``keep`` as of :class:`~edgepose.cuda.host_memory.HostMemory`. ``copies`` and
    ``kernel_calls`` count what ran, ``scheduler.launches`` and ``.synchronisations`` what the host
    asked for.
    """

    graphs = True

    def __init__(
        self,
        order: Order = "late",
        seed: int = 0,
        *,
        marks: Marks = "launch",
        keep: bool = True,
    ) -> None:
        self.facts = Facts("host")
        self.memory, self.scheduler = HostMemory(keep), Scheduler(order, seed, marks)
        self.kernels = Kernels(_module(), self._call)
        self.copies = self.kernel_calls = 0

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Uninitialised memory: NaN."""
        self.scheduler.no_capture("allocate")
        owner = self.memory.allocate(size_of(shape, dtype), pinned=False)
        return DeviceArray(owner.pointer, tuple(shape), np.dtype(dtype), None, owner)

    def pinned(self, shape: Sequence[int], dtype: DTypeLike, mapped: bool = False) -> NDArray[Any]:
        """Host memory that copies may use; NaN at first."""
        self.scheduler.no_capture("allocate")
        return self.memory.allocate(size_of(shape, dtype), pinned=True).array(shape, dtype)

    def memory_in_use(self) -> int:
        """Bytes of device memory."""
        return self.memory.in_use

    def stream(self, priority: int = 0) -> HostStream:
        """A stream."""
        return self.scheduler.stream(priority)

    def event(self, timing: bool = False) -> HostEvent:
        """An event."""
        return HostEvent(self.scheduler, timing)

    def copy(self, target: int, source: int, size: int, stream: HostStream) -> None:
        """Copy between allocations of this device."""

        def work() -> None:
            self.memory.check(target, size)
            self.memory.check(source, size)
            self.copies += 1
            ctypes.memmove(target, source, size)

        self.memory.check(target, size)
        self.memory.check(source, size)
        self.scheduler.run(stream.handle, work)

    def capture(self, stream: HostStream) -> contextlib.AbstractContextManager[Recording]:
        """Record what the block gives the stream."""
        return self.scheduler.capture(stream)

    def run(self, stream: int, work: Callable[[], None]) -> None:
        """Give a stream work, or record it: how a network that runs on the host comes to run."""
        self.scheduler.run(stream, work)

    def _call(
        self,
        stream: int,
        function: Callable[..., None],
        arguments: tuple[Any, ...],
        touched: Sequence[DeviceArray],
    ) -> None:
        places = [(a.pointer, size_of(a.shape, a.dtype)) for a in touched]

        def work() -> None:
            for address, size in places:
                self.memory.check(address, size)
            self.kernel_calls += 1
            function(*arguments, 0, 0)

        self.scheduler.run(stream, work)


def _module() -> ModuleType:
    try:
        from edgepose import _host
    except ImportError as error:
        raise DeviceError(
            f"the host device needs edgepose._host ({error}); reinstall where there is a C++ "
            "compiler"
        ) from error
    return _host
