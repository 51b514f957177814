"""pycuda's calls on the device that is none: a mock, which shows that the provider's own code is
right (contexts, directions, what is freed), not that pycuda does on a GPU what it does here."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

from edgepose.cuda.host import HostDevice


def driver():
    """In the place of ``pycuda.driver``."""
    device, contexts = HostDevice("late"), threading.local()

    def check():
        assert getattr(contexts, "depth", 0) > 0, "no context is current in this thread"

    class Context:
        def push(self):
            contexts.depth = getattr(contexts, "depth", 0) + 1

        def pop(self):
            check()
            contexts.depth -= 1

    class Device:
        def __init__(self, index):
            assert index == 0

        def retain_primary_context(self):
            return Context()

        def name(self):
            return "Pretended"

        def compute_capability(self):
            return 8, 7

        def total_memory(self):
            return 8 << 30

        def get_attribute(self, which):
            return 1

    class Allocation:
        def __init__(self, size):
            check()
            self._array = device.empty((size,), np.uint8)

        def __int__(self):
            return self._array.pointer

        def free(self):
            check()
            self._array = None

    class Stream:
        def __init__(self, flags):
            check()
            assert flags == 1, "a blocking stream orders itself with the legacy one"
            self.own = device.stream()
            self.handle = self.own.handle

        def wait_for_event(self, event):
            check()
            self.own.wait(event.own)

        def synchronize(self):
            check()
            self.own.synchronize()

    class Event:
        def __init__(self, flags):
            check()
            self.own = device.event(timing=not flags & 2)

        def record(self, stream):
            check()
            self.own.record(stream.own)

        def synchronize(self):
            check()
            self.own.synchronize()

        def query(self):
            check()
            return self.own.done()

        def time_since(self, earlier):
            return 1e3 * self.own.seconds_since(earlier.own)

    class Host:
        def __init__(self, shape, dtype):
            check()
            self._array = device.pinned(shape, dtype)
            self.__array_interface__ = self._array.__array_interface__

        def free(self):
            check()
            self._array = None

    def pagelocked_empty(shape, dtype):
        return np.asarray(Host((shape,), dtype))

    def to_device(target, source, stream):
        check()
        device.copy(target, source.ctypes.data, source.nbytes, stream.own)

    def to_host(target, source, stream):
        check()
        device.copy(target.ctypes.data, source, target.nbytes, stream.own)

    def within(target, source, size, stream):
        check()
        device.copy(target, source, size, stream.own)

    return SimpleNamespace(
        pretended=device,
        init=lambda: None,
        Device=Device,
        Stream=Stream,
        Event=Event,
        event_flags=SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2),
        device_attribute=SimpleNamespace(INTEGRATED=0),
        MemoryError=MemoryError,
        get_driver_version=lambda: 12060,
        mem_alloc=Allocation,
        mem_get_info=lambda: ((8 << 30) - device.memory_in_use(), 8 << 30),
        pagelocked_empty=pagelocked_empty,
        memcpy_htod_async=to_device,
        memcpy_dtoh_async=to_host,
        memcpy_dtod_async=within,
    )
