"""The device that is none is stricter than a GPU: what CUDA leaves undefined is seen here."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from edgepose.cuda.host import HostDevice
from edgepose.errors import DeviceError


@pytest.fixture
def device():
    return HostDevice()


def test_memory_begins_as_nan(device):
    array = device.empty((3,), np.float32)
    assert np.isnan(device.memory.view(array.pointer, (3,), np.float32)).all()
    assert np.isnan(device.pinned((3,), np.float16)).all()


def test_freed_memory_is_seen(device):
    array, other = device.empty((4,), np.float32), device.empty((4,), np.float32)
    address, stream = array.pointer, device.stream()
    del array
    with pytest.raises(DeviceError, match=r"16 bytes at 0x.* were freed"):
        device.copy(other.pointer, address, 16, stream)
    with pytest.raises(DeviceError, match="not within one allocation"):
        device.copy(other.pointer, other.pointer + 4, 16, stream)


def test_memory_that_was_freed_before_its_work_ran(device):
    stream, event = device.stream(), device.event()
    source, target = device.empty((4,), np.float32), device.empty((4,), np.float32)
    device.copy(target.pointer, source.pointer, 16, stream)
    event.record(stream)
    del source
    with pytest.raises(DeviceError, match="were freed"):
        event.synchronize()


def test_memory_that_is_not_pinned(device):
    array = device.empty((4,), np.float32)
    with pytest.raises(DeviceError, match="not within one allocation"):
        device.copy(array.pointer, np.zeros(4, np.float32).ctypes.data, 16, device.stream())


@pytest.mark.parametrize("order", ["late", "random"])
def test_an_order_that_was_forgotten_shows(order):
    """The other stream does not wait, so it may copy before there is anything."""
    seen = set()
    for seed in range(20):
        device = HostDevice(order, seed)
        one, two, end = device.stream(), device.stream(), device.event()
        there, host = device.empty((1,), np.int32), device.pinned((2,), np.int32)
        host[:] = 5, 6
        device.copy(there.pointer, host.ctypes.data, 4, one)
        device.copy(host.ctypes.data + 4, there.pointer, 4, two)
        end.record(two)
        end.synchronize()
        seen.add(int(host[1]))
    assert -1 in seen


def test_a_stream_without_a_name(device):
    with pytest.raises(DeviceError, match="there is no stream 7"):
        device.run(7, lambda: None)


def test_what_breaks_a_capture(device):
    stream, other, event = device.stream(), device.stream(), device.event()
    event.record(other)
    for action in (
        stream.synchronize,
        event.synchronize,
        event.done,
        lambda: stream.wait(event),
        lambda: device.pinned((1,), np.uint8),
    ):
        with pytest.raises(DeviceError, match="the capture is lost"), device.capture(stream):
            action()
    # Caught inside, it is lost all the same.
    with (
        pytest.raises(DeviceError, match="the capture is lost"),
        device.capture(stream),
        contextlib.suppress(DeviceError),
    ):
        stream.synchronize()
    with (
        device.capture(stream),
        pytest.raises(DeviceError, match="another capture"),
        device.capture(other),
    ):
        pass


def test_a_graph_closed_while_it_runs(device):
    stream, ran = device.stream(), []
    with device.capture(stream) as captured:
        device.run(stream.handle, lambda: ran.append(1))
    captured.graph.launch(stream)
    with pytest.raises(DeviceError, match="closed while it runs"):
        captured.graph.close()
    stream.synchronize()
    captured.graph.close()
    assert ran == [1]


def test_replays_of_one_graph_do_not_overlap(device):
    one, two, ran = device.stream(), device.stream(), []
    with device.capture(one) as captured:
        device.run(one.handle, lambda: ran.append(len(ran)))
    captured.graph.launch(one)
    captured.graph.launch(two)
    two.synchronize()
    assert ran == [0, 1]


def test_times_need_events_that_take_them(device):
    stream, event = device.stream(), device.event()
    event.record(stream)
    event.synchronize()
    with pytest.raises(DeviceError, match="made with timing"):
        event.seconds_since(event)
