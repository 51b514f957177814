"""Backend ``tensorrt``, on a pretend GPU: see ``pretend.py`` for what that shows and what not."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.backends import open_backend
from edgepose.backends.tensorrt import TensorRt
from edgepose.cascade.device import DeviceCascade
from edgepose.cuda.driver import Driver, driver
from edgepose.cuda.host import HostDevice
from edgepose.engine.flavour import Flavour
from edgepose.engine.recipe import EngineRecipe, Limits
from edgepose.engine.runtime import TrtEngine
from edgepose.errors import BackendError, BundleError, EngineError
from edgepose.sources.open import open_source
from edgepose.verify.engines import Verifier
from edgepose.verify.golden import verify_golden
from tests.engine import pretend


@pytest.fixture(params=["tensorrt"])
def gpu(request, rtx, monkeypatch, tmp_path):
    """A pretend GPU and TensorRT."""
    gpu = pretend.Gpu0(rtx=request.param == "tensorrt-rtx")
    flavour = Flavour(request.param, "1.2.3", gpu.tensorrt(rtx.module))
    monkeypatch.setattr("edgepose.backends.tensorrt.choose_targets", lambda *_: (("sm87",), "12"))
    for module in ("edgepose.backends.tensorrt", "edgepose.engine.runtime"):
        monkeypatch.setattr(f"{module}.driver", lambda: pretend.ORIN)
    monkeypatch.setattr("edgepose.backends.tensorrt.open_flavour", lambda _: flavour)
    monkeypatch.setattr("edgepose.backends.tensorrt.default_folder", lambda: tmp_path)
    monkeypatch.setattr("edgepose.engine.build.build_plan", pretend.build_plan)
    monkeypatch.setattr("edgepose.backends.tensorrt.open_device", lambda: gpu.device)
    return gpu


def crops(bundle, n):
    size = bundle.manifest.stages[0].size
    return np.random.default_rng(0).normal(0, 0.5, (n, 3, size, size)).astype(np.float32)


def test_the_cascade_gives_what_onnxruntime_gives(gpu, bundle):
    with open_source("sample") as source:
        frame = next(iter(source)).image
    backend = TensorRt()
    assert (backend.name, backend.precision) == ("tensorrt", "float16")
    box = edgepose.load_detector(bundle)(frame)[:1]
    found = edgepose.load_detector(bundle, backend)(frame)[:1]
    np.testing.assert_allclose(found[:, :4], box[:, :4], atol=3)
    exact = edgepose.load(bundle)(frame, box)
    poses = edgepose.load(bundle, backend)(frame, box)
    height = box[0, 3] - box[0, 1]
    assert np.abs(poses.joints - exact.joints).max() < height / 220
    assert np.abs(poses.scores - exact.scores).max() < 0.02
    assert poses.joints.dtype == poses.scores.dtype == np.float32


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_batches_are_split_and_filled_up(gpu, bundle, n):
    """Calls have 2 or 4 persons."""
    network = TensorRt(recipe=EngineRecipe(batch="2:4", precision="fp32")).load(bundle, "stage1")
    batch = crops(bundle, n)
    expected = open_backend("onnxruntime", 1).load(bundle, "stage1")(batch)
    before = gpu.device.scheduler.synchronisations
    for found, wanted in zip(network(batch), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert gpu.device.scheduler.synchronisations - before == -(-n // 4)


def test_a_shape_is_set_when_it_changes(gpu, bundle):
    """And with it the profile that is tuned for it."""
    network = TensorRt(recipe=EngineRecipe(batch="1:2:4")).load(bundle, "stage1")
    for n in (1, 1, 2, 2, 2, 1, 3):
        network(crops(bundle, n))
    assert gpu.shapes == [(0, 1), (1, 2), (0, 1), (2, 4)]


def test_why_a_call_failed(gpu, bundle):
    """Each call's own reason, not the first that ever was."""
    network = TensorRt().load(bundle, "stage1")
    for reason in ("one thing", "another"):
        gpu.fail = reason
        with pytest.raises(EngineError, match=f"the engine failed: {reason}; restart"):
            network(crops(bundle, 1))
    gpu.fail = ""
    network(crops(bundle, 1))


def test_later_stages_take_rows_of_joints(gpu, two_stages):
    bundle = two_stages
    spec, k = bundle.manifest.stages[-1], len(bundle.skeleton)
    network = TensorRt(recipe=EngineRecipe(batch="1:2", precision="fp32")).load(bundle, "stage2")
    batch = np.random.default_rng(1).normal(0, 0.5, (3 * k, 3, spec.size, spec.size))
    batch = batch.astype(np.float32)
    expected = open_backend("onnxruntime", 1).load(bundle, "stage2")(batch)
    for found, wanted in zip(network(batch), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_outputs_are_the_caller_s(gpu, bundle):
    network = TensorRt().load(bundle, "stage1")
    one, two = crops(bundle, 2)[:1], crops(bundle, 2)[1:]
    kept = network(one)
    copies = [k.copy() for k in kept]
    network(two)
    for a, b in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_may_share_a_network(gpu, bundle):
    network = TensorRt().load(bundle, "stage1")
    batches = crops(bundle, 4)[:, None]
    alone = [network(b)[0] for b in batches]
    found: list = [None] * 4

    def work(i):
        for _ in range(3):
            found[i] = network(batches[i])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_closing_frees_everything(gpu, bundle):
    backend = TensorRt()
    network = backend.load(bundle, "stage1")
    network(crops(bundle, 1))
    assert gpu.device.memory_in_use()
    assert gpu.contexts == 1
    network.close()
    network.close()
    assert gpu.contexts == 0
    with pytest.raises(BackendError, match="this network is closed; load it again"):
        network(crops(bundle, 1))
    # Also without being asked.
    other = backend.load(bundle, "stage1")
    assert gpu.contexts == 1
    del other, network
    gc.collect()
    assert gpu.contexts == gpu.device.memory_in_use() == 0
    kept = backend.load(bundle, "stage1")
    backend.close()
    assert gpu.contexts == 0
    with pytest.raises(BackendError, match="closed"):
        kept(crops(bundle, 1))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 3, 4, 4), (3, 4, 4)])
def test_a_batch_of_another_shape(gpu, bundle, shape):
    network = TensorRt().load(bundle, "stage1")
    with pytest.raises(ValueError, match=r"the batch must be \(n, \*\(3, \d+, \d+\)\), not"):
        network(np.zeros(shape, np.float32))


def test_engines_are_built_once_and_not_where_that_is_not_wanted(gpu, bundle, notes):
    with pytest.raises(EngineError, match=r"no engine for stage1 in .*; build it with: edgepose-b"):
        TensorRt(build=False).load(bundle, "stage1")
    with pytest.raises(EngineError, match=r"with: edgepose-build --recipe mine\.toml$"):
        TensorRt(build=False, options=("--recipe", "mine.toml")).load(bundle, "stage1")
    TensorRt(report=notes).load(bundle, "stage1")
    TensorRt(report=notes, build=False).load(bundle, "stage1")
    assert notes.names == [network.name for network in bundle.networks()]


def test_the_cascade_of_new_engines_is_measured(gpu, bundle):
    """All networks are asked for in one go, by one verifier; each is right, but not together."""
    verifiers = []

    def check(*arguments):
        verifiers.append(Verifier(*arguments))
        return verifiers[-1]

    backend = TensorRt(check=check)
    for network in bundle.networks():
        backend.open(bundle, network.name)
    (verifier,) = verifiers
    assert 0 < verifier.whole.pixels < 0.5
    tight = EngineRecipe(limits=Limits(pixels=verifier.whole.pixels / 2), batch="1:2")
    with pytest.raises(EngineError, match="is refused: joints drift"):
        TensorRt(check=check, recipe=tight).open(bundle, "stage1")


def test_an_engine_that_drifts_is_refused(gpu, bundle, monkeypatch):
    def noisy(flavour, model, shapes, **options):
        import onnx

        network = onnx.load_from_string(model)
        scale = next(t for t in network.graph.initializer if list(t.dims[1:]) == [3, 3, 3])
        value = onnx.numpy_helper.to_array(scale) * np.float16(1.5)
        scale.CopyFrom(onnx.numpy_helper.from_array(value, scale.name))
        return pretend.build_plan(flavour, network.SerializeToString(), shapes)

    monkeypatch.setattr("edgepose.engine.build.build_plan", noisy)
    with pytest.raises(EngineError, match=r"the fp16 engine of stage1 is refused: joints drift"):
        TensorRt(check=Verifier).load(bundle, "stage1")


@pytest.mark.parametrize("gpu", ["tensorrt-rtx"], indirect=True)
def test_kernels_that_tensorrt_rtx_compiles_are_kept(gpu, bundle, tmp_path):
    """For every batch that ran; by GPU and driver, and anew where the runtime refuses them."""
    backend = TensorRt()
    network = backend.load(bundle, "stage1")
    for n in (1, 2, 1):
        network(crops(bundle, n))
    assert gpu.compiled == 2
    backend.close()
    (kept,) = tmp_path.glob("stage1-*-sm87-cuda12.6.kernels")
    assert kept.read_bytes() == b"[1, 2]"
    again = TensorRt()
    again.load(bundle, "stage1")(crops(bundle, 2))
    assert gpu.compiled == 2
    stamp = kept.stat().st_mtime_ns
    again.close()
    assert kept.stat().st_mtime_ns == stamp  # nothing new
    gpu.stale = True
    stale = TensorRt()
    stale.load(bundle, "stage1")(crops(bundle, 3))
    stale.close()
    assert kept.read_bytes() == b"[4]"


@pytest.mark.parametrize("gpu", ["tensorrt", "tensorrt-rtx"], indirect=True)
def test_whether_a_call_can_go_into_a_graph(gpu, bundle):
    engine, stream = TensorRt().open(bundle, "stage1"), gpu.device.stream()
    scratch = gpu.device.empty((engine.scratch(),), np.uint8)
    call = engine.network(scratch.pointer)
    tensors = (engine.input, *engine.outputs)
    memory = [gpu.device.empty((1, *t.shape), t.dtype) for t in tensors]
    call.bind(1, {t.name: m.pointer for t, m in zip(tensors, memory, strict=True)})
    assert call.capturable(stream)
    assert engine.layers() == {"Layers": []}
    with pytest.raises(EngineError, match="no batch of 9, but of 1, 2, 4, 8: "):
        call.bind(9, {})


@pytest.mark.parametrize("gpu", ["tensorrt", "tensorrt-rtx"], indirect=True)
def test_the_device_cascade_on_engines(gpu, bundle, sample):
    """Contexts per slot and bucket, one graph a frame; engines take eight persons at most."""
    frame = cv2.VideoCapture(str(sample)).read()[1]
    exact = edgepose.load(bundle)
    cascade = edgepose.load(bundle, TensorRt())
    assert isinstance(cascade, DeviceCascade)
    assert cascade.buckets == [1, 2, 4, 8]
    named = (
        f"{bundle.manifest.name} {bundle.manifest.version} on tensorrt, float16, crops and one gr"
    )
    assert cascade.description.startswith(named)
    box = np.array([[228, 312, 576, 1180]], np.float32)
    for n in (1, 2, 9):
        boxes = np.repeat(box, n, 0) + np.arange(n, dtype=np.float32)[:, None]
        poses, wanted = cascade(frame, boxes), exact(frame, boxes)
        assert np.abs(poses.joints - wanted.joints).max() < 868 / 220
        assert np.abs(poses.scores - wanted.scores).max() < 0.02
    cascade.close()
    assert gpu.contexts == 0


def test_a_plan_that_tensorrt_refuses(gpu, bundle, monkeypatch):
    monkeypatch.setattr("edgepose.engine.build.build_plan", lambda *_, **__: b"bad plan")
    with pytest.raises(EngineError) as caught:
        TensorRt().load(bundle, "stage1")
    assert "refuses the engine: the plan is of another planet; build it again" in str(caught.value)


def test_no_room_on_the_gpu(gpu, bundle, monkeypatch):
    backend = TensorRt()
    engine = backend.open(bundle, "stage1")
    monkeypatch.setattr(engine._engine, "create_execution_context", lambda _: None)
    with pytest.raises(EngineError, match=r"no room on the GPU for the engine: .*smaller --batch"):
        backend.load(bundle, "stage1")
    gc.collect()
    assert gpu.contexts == gpu.device.memory_in_use() == 0


def test_a_network_that_the_bundle_has_not(gpu, bundle):
    with pytest.raises(BundleError, match="has no network 'stage9'; it has stage1, "):
        TensorRt().load(bundle, "stage9")


def test_no_gpu(monkeypatch, rtx):
    """Nothing is imported, let alone created, that a missing GPU would crash."""
    none = Driver("", (), "no NVIDIA driver is installed")
    monkeypatch.setattr("edgepose.backends.tensorrt.driver", lambda: none)
    monkeypatch.setattr("edgepose.engine.runtime.driver", lambda: none)
    with pytest.raises(EngineError, match=r"needs an NVIDIA GPU: no NVIDIA driver.*onnxruntime"):
        open_backend("tensorrt")
    with pytest.raises(EngineError, match="an engine needs an NVIDIA GPU"):
        TrtEngine(rtx, b"plan", HostDevice().stream())


@pytest.mark.skipif(not driver().gpus, reason="there is no NVIDIA GPU here")
def test_on_a_real_gpu(bundle, tmp_path, monkeypatch, capsys):
    """Engines of the shipped bundle, built, measured and run; nothing is pretended."""
    monkeypatch.setattr("edgepose.backends.tensorrt.default_folder", lambda: tmp_path)
    drift = verify_golden(bundle, TensorRt())
    with capsys.disabled():
        print(f"\n{driver().gpus[0].name}: {drift}")
    assert max(drift.values()) < 0.02


def test_the_command_line_without_a_gpu():
    if driver().gpus:
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "edgepose.cli.run", "--source", "sample", "--json", "-"]
    done = subprocess.run(
        [*command, "--backend", "tensorrt", "--no-build"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("edgepose-run: backend tensorrt needs an NVIDIA GPU: ")
    assert done.stderr.endswith("; use --backend onnxruntime\n")
    assert done.stderr.count("\n") == 1
