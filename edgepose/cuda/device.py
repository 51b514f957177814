"""What the device cascade asks of a device; providers are ``native``, ``pycuda`` and ``host``.

Addresses and streams are integers, as in CUDA's own calls, so that TensorRT, torch and the kernels
all take them. Nothing waits but ``synchronize``, ``empty`` and ``close``.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.cuda.kernels import Kernels


@dataclass(frozen=True)
class Facts:
    """What a device is.

    ``capability`` as ``sm90``, ``cuda`` the driver's version (both empty for the host), ``memory``
    in bytes. ``integrated``: it shares the host's memory, as on a Jetson.
    """

    name: str
    capability: str = ""
    cuda: str = ""
    memory: int = 0
    integrated: bool = False


class Event(Protocol):
    """A moment in a stream's work."""

    def record(self, stream: Stream, external: bool = False) -> None:
        """Mark what the stream has been given so far.

        In a capture an ordinary event only orders nodes; an ``external`` one becomes a node, which
        every replay records, so that the host can wait for a part of a graph. Whether it stands for
        the new replay already when ``launch`` returns is the provider's: until then it may still
        stand for the one before, so whoever waits must see whose work it was.
        """
        ...

    def synchronize(self) -> None:
        """Wait, on the host, until the marked work is done; at once if nothing was marked."""
        ...

    def done(self) -> bool:
        """Whether the marked work is done."""
        ...

    def seconds_since(self, earlier: Event) -> float:
        """Time between two events that were made with ``timing`` and are done."""
        ...


class Stream(Protocol):
    """Work in order; non-blocking: it never waits for the legacy default stream."""

    handle: int

    def wait(self, event: Event) -> None:
        """Make later work wait for the event as it is now; the host does not wait."""
        ...

    def synchronize(self) -> None:
        """Wait, on the host, for all of its work."""
        ...


class Graph(Protocol):
    """A captured sequence, ready to be replayed; one replay at a time runs.

    Addresses are fixed, what lies there is read when a replay runs.
    """

    nodes: int

    def launch(self, stream: Stream) -> None:
        """Queue one replay."""
        ...

    def close(self) -> None:
        """Give it back; its last replay must be done."""
        ...


class Capture(Protocol):
    """What a capture gave: ``graph`` once its block has ended without an error."""

    graph: Graph


class Device(Protocol):
    """One device. Its memory is its own: nothing else in edgepose allocates on it."""

    facts: Facts
    graphs: bool  # whether capture works

    @property
    def kernels(self) -> Kernels:
        """The kernels on this device; BackendError if they were not built."""
        ...

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Uninitialised memory, ready for any stream; it goes with its last reference, which must
        outlive the work on it. DeviceError if there is no room, or during a capture."""
        ...

    def pinned(self, shape: Sequence[int], dtype: DTypeLike, mapped: bool = False) -> NDArray[Any]:
        """Host memory that copies run on without waiting; ``mapped``: kernels may use its address,
        which pays for boxes and joints, seldom for frames (uncached on a Jetson)."""
        ...

    def stream(self, priority: int = 0) -> Stream:
        """A stream; negative priorities come first."""
        ...

    def event(self, timing: bool = False) -> Event:
        """An event that nothing was marked by yet."""
        ...

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy ``size`` bytes between addresses of this device or of pinned memory."""
        ...

    def capture(self, stream: Stream) -> contextlib.AbstractContextManager[Capture]:
        """Record what the block gives the stream, instead of running it.

        Thread-local: other threads may go on. Nothing may be allocated, freed or waited for inside.
        DeviceError where the provider has no graphs.
        """
        ...

    def memory_in_use(self) -> int:
        """Bytes of the device in use, by whomever: to see that nothing grows."""
        ...


_capturing = threading.Lock()


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Collect no garbage: a finaliser that frees memory or a stream breaks a capture.

    One thread at a time: the collector is the process's.
    """
    with _capturing:
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()


def size_of(shape: Sequence[int], dtype: DTypeLike) -> int:
    """Bytes of an array."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
