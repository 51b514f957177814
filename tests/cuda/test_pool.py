"""Pictures in lent memory: nobody's picture is overwritten, and none is copied on its way up."""

from __future__ import annotations

import gc
import random
import threading

import cv2
import numpy as np
import pytest

from edgepose.backends.host_device import HostDeviceBackend
from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.device_frames import FrameStore
from edgepose.cuda.host import HostDevice
from edgepose.cuda.pool import PinnedPool, lent_by
from edgepose.errors import DeviceError
from edgepose.nv12 import NV12
from edgepose.people.estimator import Estimator
from edgepose.people.follower import Stills
from edgepose.people.options import TrackerOptions
from edgepose.runner.capture import Feed
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.open import open_source
from edgepose.sources.source import SourceOptions
from edgepose.types import Frame
from tests.cascade.made_up import Smooth, made_up

SHAPE = (24, 31, 3)


def place(array):
    return array.ctypes.data


def test_memory_is_lent_again_when_its_last_view_has_gone():
    pool = PinnedPool(HostDevice())
    picture = pool.take(SHAPE)
    assert (picture.shape, picture.dtype, picture.flags.c_contiguous) == (SHAPE, np.uint8, True)
    first, row = place(picture), picture[3]
    reader, channel = memoryview(picture), picture.reshape(-1, 3)[:, 1]
    others = [pool.take(SHAPE)]
    del picture
    for view in ("row", "reader", "channel"):
        others.append(pool.take(SHAPE))
        assert first not in map(place, others), view
        if view == "row":
            del row
        elif view == "reader":
            reader.release()
            del reader
        else:
            del channel
    assert place(pool.take(SHAPE)) == first
    assert len(set(map(place, others))) == len(others)


def test_no_more_is_pinned_than_the_limit():
    device = HostDevice()
    pool, size = PinnedPool(device, limit=3 * 24 * 31 * 3), 24 * 31 * 3
    held = [pool.take(SHAPE) for _ in range(3)]
    assert pool.take(SHAPE) is None
    pinned = device.memory.allocations
    del held[0]
    assert pool.take((1, size)) is not None  # of another shape, as large
    assert device.memory.allocations == pinned
    held.clear()
    # The camera gives larger pictures now: what was pinned for the small ones goes.
    assert pool.take((3, size)) is not None
    assert pool.take(SHAPE) is not None


def test_without_memory_to_pin_a_picture_lies_elsewhere(monkeypatch, caplog):
    device = HostDevice()
    pool = PinnedPool(device)
    held = pool.take(SHAPE)

    def pinned(*_):
        raise DeviceError("there is no room for 1 bytes")

    monkeypatch.setattr(device, "pinned", pinned)
    assert pool.take(SHAPE) is None
    assert pool.take(SHAPE) is None
    assert caplog.text.count("pictures are copied on their way to the device") == 1
    first = place(held)
    del held
    assert place(pool.take(SHAPE)) == first


def test_after_closing_what_is_lent_stays():
    device = HostDevice()
    pool = PinnedPool(device)
    picture = pool.take(SHAPE)
    picture[...] = 7
    pool.close()
    pool.close()
    assert pool.take(SHAPE) is None
    gc.collect()
    assert (picture == 7).all()


def test_whose_memory_it_is():
    device = HostDevice()
    picture = PinnedPool(device).take(SHAPE)
    assert lent_by(device, picture)
    assert lent_by(device, picture[2:5, ::2])
    assert not lent_by(HostDevice(), picture)
    assert not lent_by(device, picture.copy())
    assert not lent_by(device, device.pinned(SHAPE, np.uint8))


def test_threads_share_a_pool():
    pool, wrong = PinnedPool(HostDevice(), limit=40 * 24 * 31 * 3), []

    def work(number):
        held, chance = [], random.Random(number)
        for i in range(300):
            picture = pool.take(SHAPE)
            if picture is not None:
                picture[...] = mark = (number * 31 + i) % 256
                held.append((picture, mark))
            if len(held) > 6:
                picture, mark = held.pop(chance.randrange(6))
                if not (picture == mark).all():
                    wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Watched(HostDevice):
    """Notes where copies begin."""

    def __init__(self, *options):
        super().__init__(*options)
        self.sources = []

    def copy(self, target, source, size, stream):
        self.sources.append(source)
        super().copy(target, source, size, stream)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("order", ["late", "soon", "random"])
def test_lent_frames_go_up_from_where_they_are(order, mapped):
    """Rows of 390 bytes, no multiple of 4; beside a frame that is not lent, in one call."""
    device = Watched(order)
    cascade = DeviceCascade(made_up(), HostDeviceBackend(device, Smooth()), mapped=mapped)
    rng, boxes = np.random.default_rng(0), np.array([[5, 5, 90, 90], [20, 0, 60, 95]], np.float32)
    for _ in range(4):
        own = [rng.integers(0, 256, (96, 130, 3), dtype=np.uint8) for _ in range(2)]
        lent = cascade.pool.take(own[0].shape)
        lent[...] = own[0]
        device.sources.clear()
        pictures = [Frame(image, 0, 0.0, 0.0) for image in (lent, own[1])]
        found = cascade.submit(pictures, boxes, [0, 1]).result()
        assert (place(lent) in device.sources) is not mapped
        for i in range(2):
            wanted = cascade(own[i], boxes[i : i + 1])
            assert np.array_equal(found.joints[i], wanted.joints[0])
    cascade.close()


@pytest.mark.parametrize("mapped", [False, True])
def test_a_frame_on_its_way_is_kept(mapped):
    """Nobody else holds it, and the device has not read it yet."""
    device = HostDevice("late")
    cascade = DeviceCascade(made_up(), HostDeviceBackend(device, Smooth()), mapped=mapped)
    rng, box = np.random.default_rng(0), np.array([[5, 5, 90, 90]], np.float32)
    images = [rng.integers(0, 256, (96, 130, 3), dtype=np.uint8) for _ in range(6)]
    waiting = []
    for image in images:
        lent = cascade.pool.take(image.shape)
        lent[...] = image
        waiting.append(cascade.submit([Frame(lent, 0, 0.0, 0.0)], box, [0]))
        del lent
        for _ in range(3):  # the next pictures are decoded
            cascade.pool.take(image.shape)[...] = 0
    for pending, image in zip(waiting, images, strict=True):
        assert np.array_equal(pending.result().joints, cascade(image, box).joints)
    cascade.close()


def test_a_lent_frame_needs_no_memory_of_the_store():
    device = HostDevice()
    store, pool, stream = FrameStore(device, False), PinnedPool(device), device.stream()
    before = device.memory.allocations
    y, uv = pool.take((24, 32)), pool.take((12, 16, 2))
    store.put([NV12(y, uv)], stream)
    assert device.memory.allocations - before == 3  # two planes, and the place on the device
    store.put([pool.take((24, 32, 3))[:, :16]], stream)  # a part of the rows has to be copied
    assert device.memory.allocations - before == 5


def shown(clip):
    """Its pictures, decoded beside everything else."""
    capture, pictures = cv2.VideoCapture(str(clip)), []
    while (picture := capture.read()[1]) is not None:
        pictures.append(picture)
    capture.release()
    return pictures


def noisy(path, frames):
    rng = np.random.default_rng(1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (96, 64))
    for coarse in rng.integers(0, 256, (frames, 8, 12, 3), dtype=np.uint8):
        writer.write(cv2.resize(coarse, (96, 64)))
    writer.release()
    return path


@pytest.mark.parametrize(("order", "limit"), [("late", 5 * 64 * 96 * 3), ("random", 64 << 20)])
def test_a_run_in_lent_memory(tmp_path, order, limit):
    """Readers keep some of the pictures, and parts of some, for as long as they like."""
    clip, device = noisy(tmp_path / "noise.avi", 60), Watched(order)
    wanted, kept = shown(clip), {}
    cascade = DeviceCascade(made_up(), HostDeviceBackend(device, Smooth()))
    cascade.pool = PinnedPool(device, limit)
    boxes = np.array([[10, 4, 60, 60, 0.9], [30, 2, 80, 50, 0.8]], np.float32)
    everybody = TrackerOptions(min_score=0.0)
    estimate = Estimator(cascade, lambda _: boxes, {0: Stills(everybody)}, exact=True)
    lent, chance = set(), random.Random(2)
    with open_source(clip) as source, Pipeline([Feed(source)], estimate) as run:
        for result in run:
            if lent_by(device, result.image):
                lent.add(place(result.image))
            alone = cascade(wanted[result.index], boxes)
            for person, joints in zip(result.people, alone.joints, strict=True):
                np.testing.assert_array_equal(person.joints, joints)
            if chance.random() < 0.3:
                kept[result.index] = result.frame[10:50] if chance.random() < 0.5 else result.frame
            while len(kept) > 8:
                index = chance.choice(list(kept))
                picture = kept.pop(index)
                whole = wanted[index]
                assert np.array_equal(picture, whole if len(picture) == 64 else whole[10:50])
            del result
    for index, picture in kept.items():
        whole = wanted[index]
        assert np.array_equal(picture, whole if len(picture) == 64 else whole[10:50])
    assert lent & set(device.sources)
    assert len(lent) < 30  # lent again and again
    cascade.close()


@pytest.mark.parametrize(
    "options", [SourceOptions(), SourceOptions(size=(80, 60)), SourceOptions(rotate=90),
                SourceOptions(size=(80, 60), rotate=90), SourceOptions(live=True)],
)  # fmt: skip
def test_sources_read_into_lent_memory(clip, options):
    """Scaled, turned and paced ones too: what they give is lent, and nothing that lies between."""
    device = HostDevice()
    pool = PinnedPool(device)
    with open_source(clip, options) as plain:
        wanted = [frame.image for frame in plain][:20]
    with open_source(clip, options) as source:
        source.pool = pool
        images = []
        for frame in source:
            images.append(frame.image)
            if len(images) == 20:
                break
    scaled = options.size is not None or options.rotate
    for i, (image, own) in enumerate(zip(images, wanted, strict=True)):
        assert lent_by(device, image) == bool(i or scaled)  # the first is read on opening
        assert np.array_equal(image, own)
    assert device.memory.allocations <= 21
