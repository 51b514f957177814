"""A GPU through edgepose._cuda, which links the CUDA runtime statically: all that graphs need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.native import module
from edgepose.cuda.device import Event, Facts, Graph, Stream, no_garbage, size_of
from edgepose.cuda.kernels import Kernels
from edgepose.errors import DeviceError


class _Capture:
    graph: Graph


class NativeDevice:
    """One GPU, by its CUDA number."""

    graphs = True

    def __init__(self, index: int = 0) -> None:
        """Look at the GPU; DeviceError if there is none, BackendError without a CUDA build."""
        cuda = module()
        if cuda.device_count() <= index:
            raise DeviceError(
                f"there is no GPU {index} here; see what is wrong with: edgepose-doctor"
            )
        self._module, self._index = cuda, index
        told = cuda.facts(index)
        driver = told["driver"]
        self.facts = Facts(
            name=told["name"],
            capability="sm{}{}".format(*told["capability"]),
            cuda=f"{driver // 1000}.{driver % 1000 // 10}",
            memory=told["memory"],
            integrated=told["integrated"],
        )
        self.kernels = Kernels(cuda, self._call)
        self._allocating = cuda.Stream(index, 0)
        self._capturing: int | None = None  # the thread that does

    def _call(
        self,
        stream: int,
        function: Callable[..., None],
        arguments: tuple[Any, ...],
        touched: Sequence[DeviceArray],
    ) -> None:
        function(*arguments, self._index, stream)

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Uninitialised memory, ready for any stream."""
        self._not_capturing()
        size = max(size_of(shape, dtype), 1)
        owner = self._module.Memory(size, self._index, self._allocating.handle, self._allocating)
        self._allocating.synchronize()
        return DeviceArray(owner.pointer, tuple(shape), np.dtype(dtype), None, owner)

    def pinned(self, shape: Sequence[int], dtype: DTypeLike, mapped: bool = False) -> NDArray[Any]:
        """Host memory that copies run on; all of it is mapped, at the same address."""
        self._not_capturing()
        size = size_of(shape, dtype)
        owner = self._module.Pinned(max(size, 1), self._index)
        return np.frombuffer(owner, np.uint8, size).view(dtype).reshape(tuple(shape))

    def stream(self, priority: int = 0) -> Stream:
        """A non-blocking stream."""
        stream: Stream = self._module.Stream(self._index, priority)
        return stream

    def event(self, timing: bool = False) -> Event:
        """An event; on a GPU that shares the host's memory waiting for it sleeps."""
        event: Event = self._module.Event(self._index, timing, self.facts.integrated)
        return event

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy between addresses of the device or of pinned memory."""
        self._module.copy(target, source, size, stream)

    @contextlib.contextmanager
    def capture(self, stream: Stream) -> Iterator[_Capture]:
        """Record what the block gives the stream."""
        if self._capturing == threading.get_ident():
            raise DeviceError("another capture is going on")
        capture = _Capture()
        with no_garbage():
            self._module.begin_capture(stream)
            self._capturing = threading.get_ident()
            try:
                yield capture
            except BaseException:
                self._module.drop_capture(stream)
                raise
            else:
                capture.graph = self._module.end_capture(stream)
            finally:
                self._capturing = None

    def memory_in_use(self) -> int:
        """Bytes in use on the whole GPU."""
        free, total = self._module.memory(self._index)
        return int(total - free)

    def _not_capturing(self) -> None:
        if self._capturing == threading.get_ident():
            raise DeviceError("memory was asked for during a capture; warm up before capturing")
