"""A GPU through pycuda (extra ``tensorrt``), for what it can: memory, copies, streams, events.

Enough for networks that are called from the host. Graphs with events in them, and the kernels, need
edgepose._cuda. The context is the device's primary one, which torch and other libraries in the
process share; it is current only during a call, in the calling thread, so any thread may call.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.native import module
from edgepose.cuda.device import Capture, Event, Facts, Stream, size_of
from edgepose.cuda.kernels import Kernels
from edgepose.errors import DeviceError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: it does not wait for the legacy default stream


class PyCudaDevice:
    """The first GPU's primary context, by pycuda."""

    graphs = False

    def __init__(self) -> None:
        """Take the context; DeviceError if pycuda is missing or does not work."""
        try:
            self._cuda: Any = importlib.import_module("pycuda.driver")
            self._cuda.init()
            device = self._cuda.Device(0)
            self._context = device.retain_primary_context()
            self.facts = self._facts(device)
        except ImportError as error:
            raise DeviceError(
                f'pycuda is not installed ({error}); install it with: pip install "edgepose'
                '[tensorrt]" (it needs the CUDA toolkit: see docs/jetson.md)'
            ) from error
        except Exception as error:
            raise DeviceError(
                f"pycuda cannot use the GPU ({error}); see what is wrong with: edgepose-doctor"
            ) from error
        self._pinned: dict[int, int] = {}  # address to bytes

    def _facts(self, device: Any) -> Facts:
        version = self._cuda.get_driver_version()
        return Facts(
            name=device.name(),
            capability="sm{}{}".format(*device.compute_capability()),
            cuda=f"{version // 1000}.{version % 1000 // 10}",
            memory=device.total_memory(),
            integrated=bool(device.get_attribute(self._cuda.device_attribute.INTEGRATED)),
        )

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """The context, current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    @property
    def kernels(self) -> Kernels:
        """The kernels of edgepose._cuda, which shares the context; BackendError without it."""
        return Kernels(module(), self._call)

    def _call(
        self,
        stream: int,
        function: Callable[..., None],
        arguments: tuple[Any, ...],
        touched: Sequence[DeviceArray],
    ) -> None:
        function(*arguments, 0, stream)

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """Uninitialised memory, ready for any stream."""
        with self.current():
            try:
                memory = self._cuda.mem_alloc(max(size_of(shape, dtype), 1))
            except self._cuda.MemoryError as error:
                raise DeviceError(
                    f"there is no room on the GPU ({error}); close other programs"
                ) from error
        owner = _Owner(self, memory.free)
        return DeviceArray(int(memory), tuple(shape), np.dtype(dtype), None, owner)

    def pinned(self, shape: Sequence[int], dtype: DTypeLike, mapped: bool = False) -> NDArray[Any]:
        """Host memory that copies run on without waiting."""
        if mapped:
            raise DeviceError("pycuda gives no mapped memory here; it needs edgepose._cuda")
        with self.current():
            memory = self._cuda.pagelocked_empty(max(size_of(shape, dtype), 1), np.uint8)
        owner = _Pinned(self, memory, size_of(shape, dtype))
        return np.asarray(owner).view(dtype).reshape(tuple(shape))

    def keep_pinned(self, address: int, size: int) -> None:
        """Copies know pinned memory by its address; 0 bytes: it goes."""
        self._pinned.pop(address, None)
        if size:
            self._pinned[address] = size

    def memory_in_use(self) -> int:
        """Bytes in use on the whole GPU."""
        with self.current():
            free, total = self._cuda.mem_get_info()
        return int(total - free)

    def stream(self, priority: int = 0) -> Stream:
        """A non-blocking stream; pycuda knows no priorities."""
        with self.current():
            return _Stream(self, self._cuda.Stream(_NON_BLOCKING))

    def event(self, timing: bool = False) -> Event:
        """An event; waiting for it sleeps."""
        flags = self._cuda.event_flags
        chosen = flags.BLOCKING_SYNC | (0 if timing else flags.DISABLE_TIMING)
        with self.current():
            return _Event(self, self._cuda.Event(chosen))

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Copy between addresses of the device or of pinned memory."""
        own: Any = stream
        with self.current():
            if self._is_pinned(source):
                self._cuda.memcpy_htod_async(target, _bytes(source, size), own.own)
            elif self._is_pinned(target):
                self._cuda.memcpy_dtoh_async(_bytes(target, size), source, own.own)
            else:
                self._cuda.memcpy_dtod_async(target, source, size, own.own)

    def _is_pinned(self, address: int) -> bool:
        return any(begin <= address < begin + size for begin, size in self._pinned.items())

    def capture(self, stream: Stream) -> contextlib.AbstractContextManager[Capture]:
        """DeviceError: pycuda lacks external events and uploads of graphs."""
        raise DeviceError(
            "pycuda cannot capture what the cascade needs; reinstall edgepose where the CUDA "
            "toolkit is installed (EDGEPOSE_CUDA=1), for its native device"
        )


class _Owner:
    """Frees memory when it goes, with the context current."""

    def __init__(self, device: PyCudaDevice, free: Callable[[], None]) -> None:
        weakref.finalize(self, _free, device, free)


class _Pinned:
    """Pinned memory as an array's base; it goes with the array."""

    def __init__(self, device: PyCudaDevice, memory: Any, size: int) -> None:
        address = memory.ctypes.data
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }
        device.keep_pinned(address, memory.nbytes)

        def free() -> None:
            device.keep_pinned(address, 0)
            memory.base.free()

        weakref.finalize(self, _free, device, free)


def _free(device: PyCudaDevice, free: Callable[[], None]) -> None:
    with device.current():
        free()


def _bytes(address: int, size: int) -> NDArray[np.uint8]:
    buffer: Any = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(buffer, np.uint8)


class _Stream:
    def __init__(self, device: PyCudaDevice, own: Any) -> None:
        self.own, self.handle, self._device = own, int(own.handle), device

    def wait(self, event: Event) -> None:
        """Make later work wait for the event."""
        other: Any = event
        with self._device.current():
            self.own.wait_for_event(other.own)

    def synchronize(self) -> None:
        """Wait for all of its work."""
        with self._device.current():
            self.own.synchronize()


class _Event:
    def __init__(self, device: PyCudaDevice, own: Any) -> None:
        self.own, self._device, self._marked = own, device, False

    def record(self, stream: Stream, external: bool = False) -> None:
        """Mark what the stream has been given so far."""
        other: Any = stream
        with self._device.current():
            self.own.record(other.own)
        self._marked = True

    def synchronize(self) -> None:
        """Wait until the marked work is done."""
        if self._marked:
            with self._device.current():
                self.own.synchronize()

    def done(self) -> bool:
        """Whether the marked work is done."""
        with self._device.current():
            return not self._marked or bool(self.own.query())

    def seconds_since(self, earlier: Event) -> float:
        """Time between two events with timing."""
        other: Any = earlier
        with self._device.current():
            return 1e-3 * float(self.own.time_since(other.own))
