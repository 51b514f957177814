"""Real engines, built by TensorRT-RTX on the CPU."""

from __future__ import annotations

import threading
import time

import numpy as np
import onnx
import pytest

from edgepose.backends import open_backend
from edgepose.bundle import NetworkSpec
from edgepose.cuda.driver import Driver, Gpu
from edgepose.engine.adapter import build_plan
from edgepose.engine.build import engines, shapes
from edgepose.engine.convert import strongly_typed
from edgepose.engine.manifest import Drift, read_manifest
from edgepose.engine.progress import BuildProgress, Silent
from edgepose.engine.recipe import Limits
from edgepose.engine.request import choose_targets
from edgepose.errors import EngineError
from edgepose.verify.emulate import Emulated
from edgepose.verify.engines import Verifier

TARGETS = ("sm86", "sm120")


def test_every_network_of_the_bundle(request_for, bundle, cache, capsys):
    request = request_for(*TARGETS, batch="1:2:5")
    made = engines(request, bundle.networks(), cache, Silent(), check=Verifier(bundle, None))
    assert [e.network.name for e in made] == [n.name for n in bundle.networks()]
    for engine in made:
        manifest = engine.manifest
        assert engine.fresh
        assert manifest.identity.targets == TARGETS
        assert cache.read(manifest) == engine.plan
        assert manifest.drift.of == "network"
        assert 0 < manifest.drift.pixels < 0.5
        (found,) = shapes(engine.network, manifest.identity).values()
        persons = (1,) if engine.network.fixed else (1, 2, 5)
        assert [shape[0] for shape in found] == [engine.network.rows * n for n in persons]
        with capsys.disabled():
            print(
                f"\n{engine.network.name}: {manifest.bytes / 1e6:.1f} MB in "
                f"{manifest.seconds:.2f} s, drift {manifest.drift.pixels:.3f} px",
                end="",
            )
    # Once built they are there, also for one of both GPUs.
    again = engines(
        request_for("sm120", batch="1:2:5"), bundle.networks(), cache, Silent(), build=False
    )
    assert [e.plan for e in again] == [e.plan for e in made]
    assert not any(e.fresh for e in again)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_other_precisions(request_for, smallest, cache, precision):
    (engine,) = engines(request_for(*TARGETS, precision=precision), smallest, cache, Silent())
    assert read_manifest(cache.folder / f"{smallest[0].name}-{engine.manifest.identity.key}.json")
    assert engine.manifest.identity.precision == precision


def alexnet(path, hidden):
    """A later stage of the paper's cascade with random weights, exported; and its crops."""
    torch = pytest.importorskip("torch")
    from edgepose.train.alexnet import SIZE, AlexNet
    from edgepose.train.export import Calibrated, ExportedStage, deployable, export_onnx
    from edgepose.train.heads import HEADS

    torch.manual_seed(0)
    net = AlexNet("refine", 2, hidden=hidden)
    deployable(net)
    alike = Calibrated(*np.array([[1, 1], [0, 0], [0, 0]], np.float32))
    model = ExportedStage(net, HEADS["refine", "regression"], alike).eval()
    crops = torch.randn(2, 3, SIZE, SIZE).half().float()
    export_onnx(model, crops, path, ("crops", "displacements", "scores"))
    return model, crops


def test_the_paper_s_alexnet_in_float16(tmp_path):
    model, crops = alexnet(tmp_path / "alexnet.onnx", hidden=64)
    expected = [found.detach() for found in model.double()(crops.double())]
    found = Emulated(strongly_typed(tmp_path / "alexnet.onnx", "fp16"))(crops.numpy())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=0.002)


def widen(path, old, new):
    """Give the F layers of an exported AlexNet the paper's width: exporting that takes long."""
    model = onnx.load(path)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if "head." in tensor.name and old in tensor.dims:
            value = onnx.numpy_helper.to_array(tensor)
            sides = [new if side == old else side for side in value.shape]
            wide = (rng.random(sides, np.float32) - 0.5).astype(value.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    assert sum(np.prod(t.dims) for t in model.graph.initializer) > 57e6
    path.write_bytes(model.SerializeToString())


def test_an_engine_of_the_paper_s_alexnet(rtx, request_for, tmp_path, capsys):
    path = tmp_path / "alexnet.onnx"
    _, crops = alexnet(path, hidden=64)
    widen(path, 64, 4096)
    shape = tuple(crops.shape[1:])
    network = NetworkSpec("stage2", path, "0" * 64, "crops", shape, 2, False)
    wanted = shapes(network, request_for(*TARGETS, batch="1:2").identity(network))
    assert wanted == {"crops": [(2 * n, 3, 220, 220) for n in (1, 2)]}
    typed = strongly_typed(network.path, "fp16")
    start = time.perf_counter()
    plan = build_plan(
        rtx, typed, wanted, targets=TARGETS, workspace=1 << 28, progress=BuildProgress()
    )
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nAlexNet stage: {len(plan) / 1e6:.1f} MB in {seconds:.2f} s", end="")
    assert len(plan) > 100e6  # 58 M weights of two bytes


def test_float16_networks_are_what_they_should_be(bundle):
    for network in bundle.networks():
        model = onnx.load_from_string(strongly_typed(network.path, "fp16"))
        onnx.checker.check_model(model, full_check=True)
        kinds = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
        assert kinds == [onnx.TensorProto.FLOAT16] + [onnx.TensorProto.FLOAT] * (len(kinds) - 1)
        # What decodes a map, such as its prior, is float32; what convolves is not.
        read = {n.input[1] for n in model.graph.node if n.op_type == "Conv"}
        weights = [t for t in model.graph.initializer if t.name in read]
        assert weights
        assert {t.data_type for t in weights} == {onnx.TensorProto.FLOAT16}
        # What is not rounded twice in a row: float32 layers hand on float32.
        made = {n.output[0]: n for n in model.graph.node}
        for node in model.graph.node:
            before = made.get(node.input[0]) if node.op_type == "Cast" and node.input else None
            if node.op_type == "Cast" and before is not None and before.op_type == "Cast":
                pytest.fail(f"{network.name}: {before.name} feeds {node.name}")


def test_float32_networks_are_exact(bundle):
    rng = np.random.default_rng(0)
    for network in bundle.networks():
        batch = rng.normal(0, 0.5, (network.rows, *network.shape)).astype(np.float32)
        exact = open_backend("onnxruntime", 1).load(bundle, network.name)(batch)
        found = Emulated(strongly_typed(network.path, "fp32"))(batch)
        for a, b in zip(found, exact, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_emulation_rounds_every_layer(bundle):
    """Against float16 convolutions by torch, which round as an engine does."""
    torch = pytest.importorskip("torch")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, (8, c, 3, 3)).astype(np.float16) for c in (3, 8, 8)]
    nodes, name = [], "x"
    for i in range(3):
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"y{i}"], pads=[1] * 4))
        name = f"y{i}"
    shape = ["n", 3, 12, 12]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, shape)],
        [helper.make_tensor_value_info("y2", TensorProto.FLOAT16, ["n", 8, 12, 12])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    opset = [helper.make_opsetid("", 17)]
    x = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    y = torch.from_numpy(x.astype(np.float16))
    for w in weights:
        y = torch.nn.functional.conv2d(y.float(), torch.from_numpy(w).float(), padding=1).half()
    model.graph.node.append(helper.make_node("Cast", ["y2"], ["out"], to=TensorProto.FLOAT))
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8, 12, 12])
    )
    (found,) = Emulated(model.SerializeToString())(x)
    np.testing.assert_allclose(found, y.float().numpy(), rtol=2e-3, atol=2e-3)
    assert np.array_equal(found, found.astype(np.float16).astype(np.float32))


def test_layers_named_in_a_recipe_stay_float32(bundle):
    path = bundle.networks()[0].path
    first = next(n.name for n in onnx.load(path).graph.node if n.op_type == "Conv")
    model = onnx.load_from_string(strongly_typed(path, "fp16", [first]))
    (node,) = [n for n in model.graph.node if n.name == first]
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    assert kinds[node.input[1]] == onnx.TensorProto.FLOAT
    with pytest.raises(EngineError, match=r"keeps 'Nothing' in float32, but .* no such node"):
        strongly_typed(path, "fp16", ["Nothing"])


def test_a_file_that_is_no_network(tmp_path):
    path = tmp_path / "stage1.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(EngineError, match=r"stage1\.onnx is not an ONNX network; copy"):
        strongly_typed(path, "fp16")


def test_an_operator_that_tensorrt_lacks(rtx, tmp_path):
    from onnx import TensorProto, helper

    node = helper.make_node("StringNormalizer", ["x"], ["y"], name="shout")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(EngineError, match=r"cannot build it: .*(StringNormalizer|shout|STRING)"):
        build_plan(
            rtx,
            data.SerializeToString(),
            {},
            targets=["sm86"],
            workspace=1 << 28,
            progress=BuildProgress(),
        )


def test_drift_beyond_the_limits_is_refused_and_nothing_kept(request_for, bundle, cache):
    request = request_for(limits=Limits(pixels=1e-6))
    stage = bundle.networks()[:1]
    with pytest.raises(EngineError) as caught:
        engines(request, stage, cache, Silent(), check=Verifier(bundle, None))
    assert "the fp16 engine of stage1 is refused: joints drift by 0.0" in str(caught.value)
    assert "try --precision fp32, or keep more layers in float32" in str(caught.value)
    assert not list(cache.folder.glob("stage1*"))


def test_a_nan_is_refused(request_for, smallest, cache):
    class Check:
        def __call__(self, network, identity, plan):
            return Drift(0.0, float("nan"), 0.0, "engine")

        def end_to_end(self):
            return None

    with pytest.raises(EngineError, match=r"is refused: .*try --precision bf16 or fp32"):
        engines(request_for(), smallest, cache, Silent(), check=Check())


def test_a_cascade_that_enlarges_differences_is_told_from_a_faulty_engine(
    request_for, smallest, cache
):
    class Check:
        def __call__(self, network, identity, plan):
            return Drift(0.0, 0.1, 0.0, "engine")

        def end_to_end(self):
            return Drift(0.1, 30.0, 0.0, "engine")

    with pytest.raises(EngineError) as caught:
        engines(request_for(), smallest, cache, Silent(), check=Check())
    assert "the cascade of fp16 engines is refused: joints drift by 30 pixels" in str(caught.value)
    assert "though each engine alone does not: a later stage makes small" in str(caught.value)
    assert not list(cache.folder.glob("*.manifest*"))


def test_ctrl_c_ends_the_build_at_once(request_for, bundle, cache):
    class Report(Silent):
        def building(self, network, tracker):
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        engines(request_for(), bundle.networks(), cache, Report())
    assert threading.active_count() == before
    assert {p.name for p in cache.folder.iterdir()} <= {".lock"}


def test_progress_is_told_and_only_grows(rtx, bundle):
    tracker, seen = BuildProgress(), []
    network = bundle.networks()[0]

    class Spy:
        start, finish = tracker.start, tracker.finish

        def step(self, phase, step):
            go_on = tracker.step(phase, step)
            seen.append(tracker.fraction)
            return go_on

    data = strongly_typed(network.path, "fp16")
    calls = {"crops": [(n, *network.shape) for n in (1, 2)]}
    build_plan(rtx, data, calls, targets=["sm86"], workspace=1 << 28, progress=Spy())
    assert len(seen) > 50
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert 0 < seen[0] < seen[-1] <= 1
    assert tracker.remaining is not None


NONE = Driver("", (), "no driver")
ORIN = Driver("12.6", (Gpu("Orin", (8, 7), 8 << 30),))
ADA = Driver("13.0", (Gpu("RTX 4090", (8, 9), 24 << 30),))


def test_targets(rtx):
    assert choose_targets(rtx, "host", ADA) == (("sm89",), "13")
    assert choose_targets(rtx, "sm89", ADA) == (("sm89",), "13")
    assert choose_targets(rtx, "SM86, sm120", NONE) == (("sm86", "sm120"), "")
    for target, driver, says in (
        ("host", NONE, r"no GPU here to build for \(no driver\); name .* --target"),
        ("host", ORIN, r"does not support this GPU \(sm87; it supports .*\); use --flavour tens"),
        ("sm42", NONE, r"cannot build for sm42; --target takes host, or one or more of sm75"),
        ("", NONE, "cannot build for nothing"),
    ):
        with pytest.raises(EngineError, match=says):
            choose_targets(rtx, target, driver)


def test_targets_of_plain_tensorrt(rtx):
    from edgepose.engine.flavour import Flavour

    plain = Flavour("tensorrt", "10.3.0", rtx.module)
    assert plain.targets == ()
    assert choose_targets(plain, "host", ORIN) == (("sm87",), "12")
    with pytest.raises(EngineError, match="tensorrt builds only for the GPU it runs on"):
        choose_targets(plain, "sm86", ORIN)
    with pytest.raises(EngineError, match="build on the machine that will run the engines"):
        choose_targets(plain, "host", NONE)
