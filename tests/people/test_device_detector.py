"""The detector on a device, held to the host's on the device that is none."""

from __future__ import annotations

import gc

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.backends import open_backend
from edgepose.backends.host_device import HostDeviceBackend
from edgepose.bundle import Bundle
from edgepose.cuda.host import HostDevice
from edgepose.errors import BackendError
from edgepose.nv12 import NV12
from edgepose.people.detector import Detector
from edgepose.people.device_detector import DeviceDetector
from edgepose.people.estimator import Estimator
from edgepose.people.follower import Follower
from edgepose.people.options import TrackerOptions
from edgepose.types import Frame

TOLERANCE = 0.1  # pixels of boxes


@pytest.fixture(scope="module")
def networks():
    return open_backend("onnxruntime", 1)


@pytest.fixture(scope="module")
def host(networks):
    return Detector.load(Bundle(), networks)


@pytest.fixture(scope="module")
def frames(sample):
    """Of the sample: high, and the middle of it as a wide one."""
    capture = cv2.VideoCapture(str(sample))
    high = cv2.resize(capture.read()[1], (540, 960), interpolation=cv2.INTER_AREA)
    capture.release()
    return high, np.ascontiguousarray(high[250:620])


def detector(networks, order="late", marks="launch", **options):
    backend = HostDeviceBackend(HostDevice(order, marks=marks), networks)
    return DeviceDetector(Bundle(), backend, **options)


def nv12(image):
    """A decoder's surface of this picture, limited range, BT.601."""
    height, width = image.shape[:2]
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    u, v = yuv[height:].reshape(2, -1)
    uv = np.stack([u, v], -1).reshape(height // 2, width // 2, 2)
    return NV12(yuv[:height].copy(), uv, "bt601")


@pytest.mark.parametrize("order", ["late", "soon", "random"])
def test_boxes_are_the_host_s(host, networks, frames, order):
    """High and wide frames by turns, and again: graphs are replayed."""
    device = detector(networks, order)
    for _ in range(2):
        for frame in frames:
            found, wanted = device(frame), host(frame)
            assert len(wanted)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found[:, :4], wanted[:, :4], atol=TOLERANCE)
            np.testing.assert_allclose(found[:, 4], wanted[:, 4], atol=1e-3)
    assert device.device.scheduler.launches == 4


def test_nv12_and_frames_on_the_device(host, networks, frames):
    """A decoder's surface, and a picture in the device's memory, which is not uploaded."""
    device = detector(networks)
    high, _ = frames
    surface = nv12(high)
    assert surface.shape == high.shape
    decoded = cv2.cvtColor(
        np.concatenate([surface.y, surface.uv.reshape(-1, high.shape[1])]), cv2.COLOR_YUV2BGR_NV12
    )
    found, wanted = device(surface), host(decoded)
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], atol=2)  # chroma is not rounded here
    pinned = device.device.pinned(high.shape, np.uint8)
    there, stream = device.device.empty(high.shape, np.uint8), device.device.stream()
    pinned[...] = high
    device.device.copy(there.pointer, pinned.ctypes.data, pinned.nbytes, stream)
    stream.synchronize()
    found, wanted = device(there), host(high)
    np.testing.assert_allclose(found[:, :4], wanted[:, :4], atol=TOLERANCE)


def test_a_look_is_one_launch_and_one_wait(networks, frames):
    device, (high, _) = detector(networks), frames
    device(high)
    scheduler, memory = device.device.scheduler, device.device.memory
    before = scheduler.launches, scheduler.synchronisations, memory.allocations
    for _ in range(3):
        device(high)
    assert scheduler.launches - before[0] == scheduler.synchronisations - before[1] == 3
    assert memory.allocations == before[2]


def test_nobody_and_nonsense(host, networks, frames):
    device, (high, _) = detector(networks), frames
    assert device(np.zeros((64, 64, 3), np.uint8)).shape == (0, 5)
    for bad in (high[..., 0], high.astype(np.float32)):
        with pytest.raises(ValueError, match="frame must"):
            device(bad)
    np.testing.assert_allclose(device(high)[:, :4], host(high)[:, :4], atol=TOLERANCE)


def test_closing(networks, frames):
    device = detector(networks)
    device(frames[0])
    memory = device.device
    device.close()
    device.close()
    with pytest.raises(BackendError, match="this detector is closed"):
        device(frames[0])
    del device
    gc.collect()
    assert memory.memory_in_use() == 0


def test_it_is_what_a_device_gets(networks):
    found = edgepose.load_detector(backend=HostDeviceBackend(HostDevice(), networks))
    assert isinstance(found, DeviceDetector)
    assert isinstance(edgepose.load_detector(backend=networks), Detector)


def test_nv12_frames_are_followed_with_no_picture_on_the_host(networks, frames):
    """Detector and cascade on one device, each with its stream, and both capture as they begin."""
    backend = HostDeviceBackend(HostDevice("random"), networks)
    bundle = Bundle()
    cascade = edgepose.load(bundle, backend)
    follower = Follower(cascade.skeleton, TrackerOptions(), True)
    detector = edgepose.load_detector(bundle, backend)
    estimator = Estimator(cascade, detector, {0: follower}, exact=True)
    high, _ = frames
    surface, results = nv12(high), []
    for i in range(5):
        estimator.submit([Frame(surface, i, i / 30, 0.0)])
        results += estimator.results()
    results += estimator.flush()
    estimator.close()
    wanted = Detector.load(bundle, networks)(high)
    assert [len(r.people) for r in results[-3:]] == [len(wanted)] * 3
    joints = results[-1].people[0].joints
    exact = edgepose.load(bundle, networks)(high, wanted[:1]).joints[0]
    assert np.median(np.linalg.norm(joints - exact, axis=1)) < 5
    cascade.close()
