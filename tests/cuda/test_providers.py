"""What every provider of the device protocol does."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from edgepose.crop import crop
from edgepose.crop.arrays import DeviceArray
from edgepose.crop.normalisation import normalisation
from edgepose.crop.surfaces import ROW, rows
from edgepose.cuda.kernels import Next, Torso
from edgepose.errors import DeviceError
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.skeleton import LSP14
from tests.cuda.providers import PROVIDERS


@pytest.fixture(params=PROVIDERS)
def device(request):
    return request.param()


class Moves:
    """Arrays up and down, in a stream's order."""

    def __init__(self, device):
        self.device, self.stream = device, device.stream()
        self.kept = []

    def up(self, array):
        array = np.ascontiguousarray(array)
        host = self.device.pinned(array.shape, array.dtype)
        host[...] = array
        there = self.device.empty(array.shape, array.dtype)
        self.device.copy(there.pointer, host.ctypes.data, host.nbytes, self.stream)
        self.kept += host, there
        return there

    def down(self, array):
        host = self.device.pinned(array.shape, array.dtype)
        self.device.copy(host.ctypes.data, array.pointer, host.nbytes, self.stream)
        self.stream.synchronize()
        return np.array(host)


@pytest.fixture
def moves(device):
    return Moves(device)


def test_copies_come_back(moves):
    wanted = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(moves.down(moves.up(wanted)), wanted)


def test_an_empty_array(device):
    assert device.empty((0, 4), np.float32).shape == (0, 4)
    assert device.pinned((0,), np.uint8).size == 0


def test_events_order_streams(device, moves):
    other, moment = device.stream(priority=-1), device.event()
    there = moves.up(np.full(1 << 16, 7, np.int32))
    moment.record(moves.stream)
    host = device.pinned((1 << 16,), np.int32)
    other.wait(moment)
    device.copy(host.ctypes.data, there.pointer, host.nbytes, other)
    end = device.event()
    end.record(other)
    end.synchronize()
    assert end.done()
    assert moment.done()
    assert (host == 7).all()


def test_an_event_that_marks_nothing_is_done(device):
    event = device.event()
    assert event.done()
    event.synchronize()


def test_times_between_events(device, moves):
    begin, end = device.event(timing=True), device.event(timing=True)
    begin.record(moves.stream)
    moves.up(np.zeros(1 << 20, np.uint8))
    end.record(moves.stream)
    end.synchronize()
    assert 0 <= end.seconds_since(begin) < 10


def test_a_replay_reads_what_lies_there_now(device, moves):
    """Captured work has not run; a replay takes today's values, at the addresses of the capture."""
    host, back = device.pinned((4,), np.int32), device.pinned((4,), np.int32)
    there = device.empty((4,), np.int32)
    reached = device.event()
    host[:], back[:] = 1, -1
    with device.capture(moves.stream) as captured:
        device.copy(there.pointer, host.ctypes.data, 16, moves.stream)
        device.copy(back.ctypes.data, there.pointer, 16, moves.stream)
        reached.record(moves.stream, external=True)
    moves.stream.synchronize()
    assert (back == -1).all()
    assert captured.graph.nodes >= 3
    for value in (2, 3):
        host[:] = value
        captured.graph.launch(moves.stream)
        reached.synchronize()
        assert (back == value).all()
    captured.graph.close()
    with pytest.raises(Exception, match="closed"):
        captured.graph.launch(moves.stream)


def test_no_memory_in_a_capture(device, moves):
    with pytest.raises(DeviceError), device.capture(moves.stream):
        device.empty((1,), np.uint8)
    # The stream is free again.
    np.testing.assert_array_equal(moves.down(moves.up(np.ones(3))), np.ones(3))


def test_garbage_is_not_collected_in_a_capture(device, moves):
    """A finaliser that frees memory would break it."""
    host = device.pinned((4,), np.int32)
    there = device.empty((4,), np.int32)
    with device.capture(moves.stream):
        device.copy(there.pointer, host.ctypes.data, 16, moves.stream)
        assert not gc.isenabled()
    assert gc.isenabled()


def test_memory_is_given_back(device):
    before = device.memory_in_use()
    array = device.empty((1 << 22,), np.uint8)
    assert device.memory_in_use() >= before
    del array
    again = [device.empty((1 << 22,), np.uint8).shape for _ in range(3)]
    assert len(again) == 3
    assert device.memory_in_use() <= before + (1 << 26)  # a pool may keep what was freed


# kernels


def test_crops(device, moves):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    boxes = np.array([[3.5, 2, 60, 70], [-20, 5, 50, 75.25], [0, 0, 0, 0]], np.float32)
    how = normalisation(1.0, (127.0,) * 3, (128.0,) * 3)
    frame = moves.up(image)
    table, _ = rows([frame])
    out = device.empty((3, 3, 32, 32), np.float32)
    arrays = [moves.up(a) for a in (table, boxes, np.zeros(3, np.int64))]
    arrays[0] = DeviceArray(arrays[0].pointer, (1,), ROW, None, arrays[0])
    device.kernels.crop(0, *arrays, out, how, moves.stream.handle)
    wanted = crop(image, boxes[:2], 32, mean=(127.0,) * 3, std=(128.0,) * 3)
    found = moves.down(out)
    np.testing.assert_allclose(found[:2], wanted, atol=0.02 / 128)
    assert (found[2] == 0).all()


def test_the_arithmetic_between_networks(device, moves):
    rng, k, n, used = np.random.default_rng(1), len(LSP14), 4, 3
    corners = rng.uniform(0, 200, (n, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 300, (n, 2))], 1).astype(np.float32)
    points, moved = rng.uniform(-0.5, 0.5, (2, n, k, 2)).astype(np.float32)
    index = np.array([2, 0, 1, 1], np.int64)
    (a, b), (c, d) = LSP14.torso_index.tolist()
    torso = Torso(((a, b), (c, d)), 0.2)
    handle, kernels = moves.stream.handle, device.kernels

    count = moves.up(np.array([used], np.int32))
    square = device.empty((n, 4), np.float32)
    kernels.square_boxes(count, moves.up(boxes), 1.15, square, handle)
    following = Next(
        1.2,
        torso,
        moves.up(index),
        device.empty((n, k, 4), np.float32),
        device.empty((n, k), np.int64),
    )
    first, second = device.empty((n, k, 2), np.float32), device.empty((n, k, 2), np.float32)
    kernels.denormalise(count, moves.up(points), square, following, first, handle)
    kernels.refine(count, first, moves.up(moved), following.boxes, None, second, handle)

    b0 = square_boxes(boxes, 1.15)
    y = denormalise(points, b0)
    b_i = joint_boxes(y, LSP14, 1.2)
    pairs = [
        (square, b0),
        (first, y),
        (following.boxes, b_i),
        (following.indices, np.repeat(index[:, None], k, 1)),
        (second, refine(y, moved, b_i)),
    ]
    for found, wanted in pairs:
        there = moves.down(found)
        np.testing.assert_allclose(there[:used], wanted[:used], rtol=1e-5, atol=1e-3)
        assert (there[used:] == 0).all()  # spare rows: empty boxes, points at 0
