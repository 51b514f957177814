"""The device cascade against the host's, on the device that is none.

The device runs work as late as it may, as soon as it may, and at random: what comes out must be the
same, and what HostCascade gives.
"""

from __future__ import annotations

import gc
import threading

import cv2
import numpy as np
import pytest

from edgepose.backends import open_backend
from edgepose.backends.host_device import HostDeviceBackend
from edgepose.bundle import Bundle
from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.host import HostCascade
from edgepose.crop import reference_nv12
from edgepose.crop.normalisation import normalisation
from edgepose.cuda.host import HostDevice
from edgepose.errors import BackendError
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.nv12 import NV12
from edgepose.skeleton import LSP14
from edgepose.types import Frame
from tests.cascade.made_up import SPECS, Smooth, crowd, made_up

ORDERS = ("late", "soon", "random")
TOLERANCE = 0.05  # pixels
HEIGHT, WIDTH = 96, 130  # rows of 390 bytes: no multiple of 4


def device_cascade(order="late", bundle=None, networks=None, marks="launch", **options):
    device = HostDevice(order, marks=marks)
    backend = HostDeviceBackend(device, networks or Smooth())
    return DeviceCascade(bundle or made_up(), backend, **options)


def pictures(n, seed=0, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, height // 8, width // 8, 3), dtype=np.uint8)
    return [cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in coarse]


def framed(*images):
    return [Frame(image, 0, 0.0, 0.0) for image in images]


def same(found, wanted, tolerance=TOLERANCE):
    assert len(found.stages) == len(wanted.stages)
    for a, b in zip(found.stages, wanted.stages, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=tolerance)
    for a, b in zip(found.stage_scores, wanted.stage_scores, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.fixture(scope="module")
def host():
    return HostCascade(made_up(), Smooth())


@pytest.mark.parametrize(
    ("order", "marks", "graphs"),
    [*((order, "launch", True) for order in ORDERS), ("late", "node", True),
     ("late", "launch", False)],
)  # fmt: skip
def test_100_frames_of_0_to_9_persons(host, order, marks, graphs):
    """Three frames behind: both slots are in flight, and used again before anyone has read them.

    Buckets are 1, 2 and 4 persons, so that nine are split, and two of them are kept, so that the
    third is evicted and made again.
    """
    cascade = device_cascade(order, marks=marks, persons=4, programs=2, graphs=graphs)
    rng, images = np.random.default_rng(0), pictures(10)
    waiting = []
    for i in range(100):
        image, boxes = images[i % 10], crowd(rng, int(rng.integers(0, 10)), HEIGHT, WIDTH)
        pending = cascade.submit(framed(image), boxes, np.zeros(len(boxes)))
        waiting.append((pending, image, boxes))
        if len(waiting) > 3:
            pending, image, boxes = waiting.pop(0)
            same(pending.result(), host(image, boxes))
    for pending, image, boxes in reversed(waiting):
        same(pending.result(), host(image, boxes))
    cascade.close()


@pytest.mark.parametrize("order", ORDERS)
def test_the_bundle_that_ships(sample, order):
    capture = cv2.VideoCapture(str(sample))
    bundle, networks = Bundle(), open_backend("onnxruntime", 1)
    cascade, host = device_cascade(order, bundle, networks), HostCascade(bundle, networks)
    boxes = np.array([[228, 312, 576, 1180], [600, 400, 820, 1000]], np.float32)
    for n in (1, 2, 1):
        frame = capture.read()[1]
        same(cascade(frame, boxes[:n]), host(frame, boxes[:n]))
    capture.release()


@pytest.mark.parametrize("marks", ["launch", "node"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_stage_can_be_had_before_the_next(host, order, marks):
    """Also where an event within a graph stands for the replay before until its node has run."""
    cascade, images = device_cascade(order, marks=marks), pictures(6)
    boxes = crowd(np.random.default_rng(3), 3, HEIGHT, WIDTH)
    flying = [(cascade.submit(framed(image), boxes, [0, 0, 0]), image) for image in images[:2]]
    for image in [*images[2:], None, None]:
        pending, seen = flying.pop(0)
        wanted = host(seen, boxes)
        for s in (1, 2, 3):
            joints, scores = pending.stage(s)
            np.testing.assert_allclose(joints, wanted.stages[s - 1], atol=TOLERANCE)
            np.testing.assert_allclose(scores, wanted.stage_scores[s - 1], atol=1e-3)
        same(pending.result(), wanted)
        if image is not None:
            flying.append((cascade.submit(framed(image), boxes, [0, 0, 0]), image))


@pytest.mark.parametrize(("marks", "first"), [("launch", 3), ("node", 7)])
def test_the_first_stage_does_not_wait_for_the_last(marks, first):
    """Unless the event within the graph still stands for the replay before."""
    cascade, (image,) = device_cascade("late", marks=marks), pictures(1)
    boxes = crowd(np.random.default_rng(3), 2, HEIGHT, WIDTH)
    cascade(image, boxes)
    before = cascade.device.kernel_calls
    pending = cascade.submit(framed(image), boxes, [0, 0])
    cascade.submit(framed(image), boxes, [0, 0])  # the other slot's graph was made just now
    before = cascade.device.kernel_calls
    pending.stage(1)
    assert cascade.device.kernel_calls - before == first  # 3: square boxes, crop, boxes
    pending.result()
    assert cascade.device.kernel_calls - before == 7


@pytest.mark.parametrize("order", ORDERS)
def test_several_frames_in_one_call(host, order):
    """Persons of two cameras, in any order, and a frame in which there is nobody."""
    cascade, images = device_cascade(order), pictures(3, seed=4)
    images[2] = np.ascontiguousarray(images[2][:70, :100])
    boxes = crowd(np.random.default_rng(5), 5, 70, 100)
    index = np.array([2, 0, 2, 2, 0])
    found = cascade.submit(framed(*images), boxes, index).result()
    for i in (0, 2):
        wanted = host(images[i], boxes[index == i])
        for s in range(3):
            np.testing.assert_allclose(
                found.stages[s][index == i], wanted.stages[s], atol=TOLERANCE
            )
    assert cascade.device.scheduler.launches == 1


def test_frames_whose_memory_moves(host):
    """A replay reads today's table: frames grow, shrink, and lie elsewhere on the device."""
    cascade = device_cascade("late", persons=2)
    rng = np.random.default_rng(6)
    for height, width in ((96, 130), (200, 300), (64, 64), (200, 300), (400, 310)):
        for image in pictures(3, height, height, width):
            boxes = crowd(rng, 2, height, width)
            same(cascade(image, boxes), host(image, boxes))


def test_frames_that_are_on_the_device(host):
    cascade, images = device_cascade("late"), pictures(4, seed=7)
    device, boxes = cascade.device, crowd(np.random.default_rng(8), 2, HEIGHT, WIDTH)
    stream = device.stream()
    for image in images:
        there, pinned = device.empty(image.shape, np.uint8), device.pinned(image.shape, np.uint8)
        pinned[...] = image
        device.copy(there.pointer, pinned.ctypes.data, pinned.nbytes, stream)
        stream.synchronize()
        same(cascade(there, boxes), host(image, boxes))


def nv12(image):
    """A decoder's surface of about this picture."""
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    height, width = image.shape[:2]
    quarter = height * width // 4
    u, v = yuv.ravel()[height * width :][:quarter], yuv.ravel()[height * width + quarter :]
    uv = np.stack([u, v], -1).reshape(height // 2, width // 2, 2)
    return NV12(yuv[:height].copy(), uv, "bt601")


def nv12_crops(surface, boxes, size):
    """(P, 3, size, size) by the definition."""
    crops, how = np.empty((len(boxes), 3, size, size), np.float32), Bundle().manifest.pixels
    colour = normalisation(how.scale, how.mean, how.std)
    index = np.zeros(len(boxes), np.int64)
    planes = [(surface.y, surface.uv)]
    reference_nv12.crop(planes, boxes, index, crops, colour, True, surface.standard)
    return crops


@pytest.mark.parametrize("order", ORDERS)
def test_nv12_frames(host, order):
    """Straight from a decoder; beside BGR frames in one call, too."""
    cascade, images = device_cascade(order), pictures(2, seed=9)
    boxes = crowd(np.random.default_rng(10), 4, HEIGHT, WIDTH)
    surface = nv12(images[0])
    found = cascade.submit(framed(surface, images[1]), boxes, [0, 1, 0, 1]).result()
    b0 = square_boxes(boxes[::2], SPECS[0][1])
    points, _ = host.networks[0](nv12_crops(surface, b0, SPECS[0][0]))
    np.testing.assert_allclose(found.stages[0][::2], denormalise(points, b0), atol=TOLERANCE)
    b1 = joint_boxes(found.stages[0][::2], LSP14, SPECS[1][1])
    moved, _ = host.networks[1](nv12_crops(surface, b1.reshape(-1, 4), SPECS[1][0]))
    wanted = refine(found.stages[0][::2], moved.reshape(2, 14, 2), b1)
    np.testing.assert_allclose(found.stages[1][::2], wanted, atol=TOLERANCE)
    wanted = host(images[1], boxes[1::2])
    for s in range(3):
        np.testing.assert_allclose(found.stages[s][1::2], wanted.stages[s], atol=TOLERANCE)


def test_mapped_frames(host):
    cascade, images = device_cascade("late", mapped=True), pictures(5, seed=11)
    boxes = crowd(np.random.default_rng(12), 3, HEIGHT, WIDTH)
    waiting = [cascade.submit(framed(image), boxes, [0] * 3) for image in images]
    for pending, image in zip(waiting, images, strict=True):
        same(pending.result(), host(image, boxes))


def test_one_launch_and_one_wait_a_frame():
    cascade, images = device_cascade(), pictures(8)
    boxes = crowd(np.random.default_rng(13), 3, HEIGHT, WIDTH)
    cascade.warm_up([3])
    scheduler, memory = cascade.device.scheduler, cascade.device.memory
    for image in images[:2]:  # memory for the frames
        cascade(image, boxes)
    before = scheduler.launches, scheduler.synchronisations, memory.allocations, memory.in_use
    for image in images:
        cascade(image, boxes)
    assert scheduler.launches - before[0] == 8
    assert scheduler.synchronisations - before[1] == 8
    assert (memory.allocations, memory.in_use) == before[2:]


def test_nobody_costs_nothing(host):
    cascade, (image,) = device_cascade(), pictures(1)
    found = cascade(image, np.zeros((0, 4)))
    same(found, host(image, np.zeros((0, 4))))
    assert found.joints.shape == (0, 14, 2)
    assert cascade.device.scheduler.launches == cascade.device.scheduler.synchronisations == 0


def test_what_is_refused():
    cascade, (image,) = device_cascade(), pictures(1)
    box = [[0, 0, 50, 50]]
    with pytest.raises(ValueError, match="finite"):
        cascade(image, [[0, 0, np.nan, 1]])
    for index in ([1], [-1], [0, 0], []):
        with pytest.raises(ValueError, match=r"frame_index must be \(1,\) from 0 to 0"):
            cascade.submit(framed(image), box, index)
    for bad in (image.astype(np.float32), image[..., 0].ravel(), image[:0]):
        with pytest.raises(ValueError, match="a frame must be"):
            cascade(bad, box)
    cascade(image, box)  # nothing is left over from those


def test_closing(host):
    cascade, (image,) = device_cascade(), pictures(1)
    device, boxes = cascade.device, crowd(np.random.default_rng(1), 2, HEIGHT, WIDTH)
    pending = cascade.submit(framed(image), boxes, [0, 0])
    cascade.close()
    cascade.close()
    same(pending.result(), host(image, boxes))
    with pytest.raises(BackendError, match="this cascade is closed"):
        cascade(image, boxes)
    del cascade, pending
    gc.collect()
    assert device.memory_in_use() == 0


def test_it_waits_when_it_is_dropped(host):
    cascade, (image,) = device_cascade("late"), pictures(1)
    boxes = crowd(np.random.default_rng(1), 2, HEIGHT, WIDTH)
    pending = cascade.submit(framed(image), boxes, [0, 0])
    del cascade
    gc.collect()
    same(pending.result(), host(image, boxes))


def test_threads_may_share_it(host):
    cascade, images = device_cascade("random"), pictures(4, seed=20)
    boxes = crowd(np.random.default_rng(21), 3, HEIGHT, WIDTH)
    found: dict[int, list] = {}

    def work(i):
        found[i] = [cascade(images[i], boxes) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        for poses in found[i]:
            same(poses, host(images[i], boxes))


def test_a_network_that_cannot_be_captured_is_said_and_runs_call_by_call(host, monkeypatch, caplog):
    monkeypatch.setattr("edgepose.backends.host_device.HostCall.capturable", lambda *_: False)
    cascade, (image,) = device_cascade(), pictures(1)
    boxes = crowd(np.random.default_rng(1), 2, HEIGHT, WIDTH)
    same(cascade(image, boxes), host(image, boxes))
    assert cascade.device.scheduler.launches == 0
    assert "no graph for 2 persons, calls go one by one" in caplog.text


def test_buckets_follow_what_the_networks_take():
    assert device_cascade(persons=16).buckets == [1, 2, 4, 8, 16]
    assert device_cascade(persons=5).buckets == [1, 2, 4]
    assert device_cascade(persons=1).buckets == [1]
    assert "crops and one graph a frame on host" in device_cascade().description
    assert "crops and call by call on host" in device_cascade(graphs=False).description
