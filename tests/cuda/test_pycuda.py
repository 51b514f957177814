"""pycuda as a provider of the device protocol, on pretended calls."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest

from edgepose.backends import open_backend
from edgepose.backends.host_device import HostModel
from edgepose.bundle import Bundle
from edgepose.cuda.network import RoundTrip
from edgepose.cuda.open import open_device
from edgepose.cuda.pycuda import PyCudaDevice
from edgepose.errors import DeviceError
from tests.cuda import pretend_pycuda


@pytest.fixture
def cuda(monkeypatch):
    module = pretend_pycuda.driver()
    monkeypatch.setitem(sys.modules, "pycuda", object())
    monkeypatch.setitem(sys.modules, "pycuda.driver", module)
    return module


def test_facts(cuda):
    facts = PyCudaDevice().facts
    assert (facts.name, facts.capability, facts.cuda) == ("Pretended", "sm87", "12.6")
    assert facts.integrated


def test_memory_up_down_and_across(cuda):
    device = PyCudaDevice()
    stream, other, event = device.stream(), device.stream(), device.event()
    host, back = device.pinned((3, 4), np.float32), device.pinned((3, 4), np.float32)
    there, copy = device.empty((3, 4), np.float32), device.empty((3, 4), np.float32)
    host[...] = np.arange(12).reshape(3, 4)
    device.copy(there.pointer, host.ctypes.data, host.nbytes, stream)
    device.copy(copy.pointer, there.pointer, host.nbytes, stream)
    event.record(stream)
    other.wait(event)
    device.copy(back.ctypes.data, copy.pointer, host.nbytes, other)
    other.synchronize()
    assert event.done()
    np.testing.assert_array_equal(back, host)
    del there, copy, host, back
    gc.collect()
    assert device.memory_in_use() == 0


def test_networks_for_callers_on_the_host(cuda):
    """As TensorRT is verified where edgepose._cuda was not built; from any thread."""
    device, bundle = PyCudaDevice(), Bundle()
    run = open_backend("onnxruntime", 1).load(bundle, "stage1")
    network = RoundTrip(device, HostModel(cuda.pretended, bundle, "stage1", run))
    spec = bundle.network("stage1")
    batch = np.random.default_rng(0).normal(0, 0.5, (2, *spec.shape)).astype(np.float32)
    found: list = []
    thread = threading.Thread(target=lambda: found.extend(network(batch)))
    thread.start()
    thread.join()
    for a, b in zip(found, run(batch), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    network.close()


def test_what_it_cannot_do(cuda):
    device = PyCudaDevice()
    assert not device.graphs
    with pytest.raises(DeviceError, match=r"pycuda cannot capture .* native device"):
        device.capture(device.stream())
    with pytest.raises(DeviceError, match="no mapped memory"):
        device.pinned((1,), np.uint8, mapped=True)


def test_no_pycuda(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(DeviceError, match=r'not installed .*pip install "edgepose\[tensorrt\]"'):
        PyCudaDevice()


def test_a_pycuda_that_does_not_work(cuda, monkeypatch):
    def fail():
        raise RuntimeError("cuInit failed: unknown error")

    monkeypatch.setattr(cuda, "init", fail)
    with pytest.raises(DeviceError, match=r"pycuda cannot use the GPU .*edgepose-doctor"):
        PyCudaDevice()


def test_which_provider_is_opened(cuda, monkeypatch):
    monkeypatch.setattr("edgepose.cuda.open.has_cuda", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert isinstance(open_device(), PyCudaDevice)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"needs edgepose._cuda or pycuda; reinstall edgepose"):
        open_device()
