"""What ``auto`` takes, and why it says so."""

from __future__ import annotations

import pytest

import edgepose
from edgepose.backends import auto
from edgepose.backends.host_device import HostDeviceBackend
from edgepose.bundle import Bundle
from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.host import HostCascade
from edgepose.cuda.driver import Driver, Gpu
from edgepose.cuda.host import HostDevice
from edgepose.errors import EngineError
from tests.cascade.made_up import Smooth

GPU = Driver("12.6", (Gpu("Orin", (8, 7), 8 << 30),))


class Pretended(HostDeviceBackend):
    """In TensorRT's place."""

    reason = ""

    def __init__(self, build):
        assert not build, "auto builds nothing"
        super().__init__(HostDevice(), Smooth())

    def missing(self, bundle):
        return self.reason


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, CUDA and TensorRT."""
    monkeypatch.setattr(auto, "driver", lambda: GPU)
    monkeypatch.setattr(auto, "has_cuda", lambda: True)
    monkeypatch.setattr(auto, "installed", lambda: ["tensorrt"])
    monkeypatch.setattr("edgepose.backends.tensorrt.TensorRt", Pretended)


def chosen():
    backend, why = auto.open_auto(Bundle(), 1)
    return backend.name, why


def test_a_gpu_whose_engines_are_built(gpu):
    assert chosen() == ("smooth on host", "the engines are built for Orin")


def test_engines_that_are_missing(gpu, monkeypatch):
    monkeypatch.setattr(Pretended, "reason", "there is no engine; build it with: edgepose-build")
    name, why = chosen()
    assert name == "onnxruntime"
    assert why == "there is a GPU, but there is no engine; build it with: edgepose-build"

    def fails(self, build):
        raise EngineError("TensorRT is broken; mend it")

    monkeypatch.setattr(Pretended, "__init__", fails)
    assert chosen() == ("onnxruntime", "there is a GPU, but TensorRT is broken; mend it")


def test_what_else_is_missing(gpu, monkeypatch):
    monkeypatch.setattr(auto, "installed", list)
    assert "TensorRT is not installed" in chosen()[1]
    monkeypatch.setattr(auto, "has_cuda", lambda: False)
    assert "built without CUDA" in chosen()[1]
    monkeypatch.setattr(auto, "driver", lambda: Driver("", (), "no NVIDIA driver is installed"))
    assert chosen() == ("onnxruntime", "no NVIDIA driver is installed")


def test_the_description_says_it(gpu, monkeypatch):
    cascade = edgepose.load(threads=1)
    assert isinstance(cascade, DeviceCascade)
    assert cascade.description.endswith("on host (auto: the engines are built for Orin)")
    cascade.close()
    monkeypatch.setattr(auto, "driver", lambda: Driver("", (), "no NVIDIA driver is installed"))
    cascade = edgepose.load(threads=1)
    assert isinstance(cascade, HostCascade)
    assert cascade.description.endswith("(auto: no NVIDIA driver is installed)")
