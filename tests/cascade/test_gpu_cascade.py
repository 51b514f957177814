"""The benchmark of the device cascade, its functions run on the device that is none."""

from __future__ import annotations

import gpu_cascade
import gpu_floor
import pytest

from edgepose.backends import open_backend
from edgepose.backends.host_device import HostDeviceBackend
from edgepose.cuda.host import HostDevice


def make(precision):
    return Both(HostDevice(), open_backend("onnxruntime", 1))


class Both(HostDeviceBackend):
    """As TensorRT and torch: a device backend that has host networks, too."""

    def load(self, bundle, network):
        return self._backend.load(bundle, network)


@pytest.fixture(autouse=True)
def small(monkeypatch, two_stages):
    """Quarter the frame, and two stages."""
    import cv2

    original = gpu_cascade.scene

    def scene(persons):
        frame, boxes = original(persons)
        return cv2.resize(frame, None, fx=0.25, fy=0.25), boxes / 4

    monkeypatch.setattr(gpu_cascade, "scene", scene)
    for module in (gpu_cascade, gpu_floor):
        monkeypatch.setattr(module, "Bundle", lambda: two_stages)


def test_parity():
    found = gpu_cascade.parity(make, (1, 2))
    assert found["passed"], found
    assert len(found["rows"]) == 4


def test_timings():
    found = gpu_cascade.timings(make, (2,), repeats=2)
    assert found["passed"]
    row = found["rows"][0]
    assert min(row[way] for way in ("graph", "plain", "naive", "pipelined", "pipelined_lent")) > 0
    each = [f"{part} {s}" for s in (1, 2) for part in ("crop", "stage", "boxes", "download")]
    assert list(row["parts"]) == ["upload of the frame", "request", *each]
    assert row["launches"] == row["synchronisations"] == 1
    assert row["nodes"] == 12  # copies and events among them


def test_floor(monkeypatch):
    """Operations and bytes are counted, the ceilings are made up."""
    pytest.importorskip("torch")
    monkeypatch.setattr(gpu_floor, "ceilings", lambda dtype: (1e9, 1e3))
    one, two, half, _ = gpu_floor.floor((1, 2))["rows"]
    assert two["operations"] == 2 * one["operations"] > 1e6
    assert one["bytes"] == 2 * half["bytes"]
    assert one["bytes"] < two["bytes"] < 2 * one["bytes"]  # weights are read once
    assert one["floor"] == one["bytes"] / 1e3


def test_memory():
    found = gpu_cascade.memory(make, 20, (0, 1, 2))
    assert found["passed"]
    assert found["bytes"] > 0
