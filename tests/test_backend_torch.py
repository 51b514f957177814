"""Backend ``torch``: ONNX networks operator by operator, on the CPU here, held to ONNX Runtime."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

from edgepose.backends import open_backend  # noqa: E402
from edgepose.backends.torch import TorchBackend  # noqa: E402
from edgepose.backends.torch_graph import TorchGraph  # noqa: E402
from edgepose.bundle import Bundle  # noqa: E402
from edgepose.cascade.device import DeviceCascade  # noqa: E402
from edgepose.cascade.host import HostCascade  # noqa: E402
from edgepose.cuda.host import HostDevice  # noqa: E402
from edgepose.errors import BackendError  # noqa: E402
from edgepose.train.alexnet import SIZE, AlexNet  # noqa: E402
from edgepose.train.export import Calibrated, ExportedStage, StageExport, deployable, write_bundle  # noqa: E402
from edgepose.train.heads import HEADS  # noqa: E402
from edgepose.verify.emulate import Emulated  # noqa: E402
from edgepose.verify.golden import verify_golden  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle():
    return Bundle()


def test_golden_pairs(bundle):
    assert max(verify_golden(bundle, TorchBackend(device=HostDevice())).values()) < 1e-4


@pytest.mark.parametrize("network", ["stage1", "stage2", "detector", "detector-portrait"])
def test_networks_give_what_onnxruntime_gives(bundle, two_stages, network):
    if network == "stage2":
        bundle = two_stages
    spec = bundle.network(network)
    rows = spec.rows if spec.fixed else 2 * spec.rows
    batch = np.random.default_rng(0).normal(0, 0.5, (rows, *spec.shape)).astype(np.float32)
    found = TorchBackend(device=HostDevice()).load(bundle, network)(batch)
    wanted = open_backend("onnxruntime", 1).load(bundle, network)(batch)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 if spec.fixed else 1e-5)


def test_float16_networks_round_as_engines_do(bundle):
    """The network that engines are built from, in torch's own float16 arithmetic."""
    from edgepose.engine.convert import strongly_typed

    spec = bundle.network("stage1")
    batch = np.random.default_rng(0).normal(0, 0.5, (1, *spec.shape)).astype(np.float32)
    backend = TorchBackend(precision="fp16", device=HostDevice())
    assert backend.precision == "float16"
    assert backend.open(bundle, "stage1").input.dtype == np.float16
    found = backend.load(bundle, "stage1")(batch)
    wanted = Emulated(strongly_typed(spec.path, "fp16"))(batch)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=0.01)


def test_the_device_cascade_with_torch(bundle, sample):
    frame = cv2.VideoCapture(str(sample)).read()[1]
    boxes = np.array([[228, 312, 576, 1180], [600, 400, 820, 1000]], np.float32)
    cascade = DeviceCascade(bundle, TorchBackend(device=HostDevice("late")))
    wanted = HostCascade(bundle, open_backend("onnxruntime", 1))(frame, boxes)
    poses = cascade(frame, boxes)
    np.testing.assert_allclose(poses.joints, wanted.joints, atol=0.05)
    np.testing.assert_allclose(poses.scores, wanted.scores, atol=1e-3)
    assert "on torch, float32, crops and one graph a frame" in cascade.description


@pytest.fixture(scope="module")
def paper(tmp_path_factory, bundle):
    """The paper's network in two stages, narrow, random weights that move joints about."""
    folder = tmp_path_factory.mktemp("alexnet") / "bundle"
    torch.manual_seed(0)
    stages = []
    alike = Calibrated(*np.stack([np.ones(14), np.zeros(14), np.zeros(14)]).astype(np.float32))
    for number, extent in ((1, 1.2), (2, 1.5)):
        kind = "holistic" if number == 1 else "refine"
        net = AlexNet(kind, 14, hidden=32).requires_grad_(False)
        net.head[-1].weight *= 4
        deployable(net)
        network = ExportedStage(net, HEADS[kind, "regression"], alike).eval()
        golden = np.random.default_rng(number).normal(
            0, 1, (14 if number > 1 else 1, 3, SIZE, SIZE)
        )
        stages.append(StageExport(network, SIZE, extent, golden.astype(np.float32)))
    manifest = bundle.manifest
    write_bundle(
        folder,
        stages,
        name="paper",
        version="0",
        skeleton=bundle.skeleton,
        pixels=manifest.pixels,
        detector=None,
        training={},
    )
    return Bundle(folder)


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_the_paper_s_cascade_on_a_device(paper, sample, runtime):
    """AlexNet with its LRN and 220 x 220 crops on the same path, by both runtimes."""
    from edgepose.backends.host_device import HostDeviceBackend

    frame = cv2.VideoCapture(str(sample)).read()[1]
    boxes = np.array([[228, 312, 576, 1180]], np.float32)
    host = open_backend("onnxruntime", 1)
    wanted = HostCascade(paper, host)(frame, boxes)
    device = HostDevice("late")
    backend = HostDeviceBackend(device, host) if runtime != "torch" else TorchBackend(device=device)
    poses = DeviceCascade(paper, backend)(frame, boxes)
    assert np.abs(wanted.stages[1] - wanted.stages[0]).max() > 1
    assert np.ptp(wanted.joints[0], axis=0).min() > 1
    for s in range(2):
        np.testing.assert_allclose(poses.stages[s], wanted.stages[s], atol=0.05)


# operators


def network(op, inputs, output, constants=(), **attributes):
    """A network of one node."""
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    names = ["x", *[name for name, _ in constants]]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", kinds[inputs.dtype], inputs.shape)],
        [helper.make_tensor_value_info("y", output, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


PICTURE = np.random.default_rng(1).normal(0, 1, (2, 4, 9, 7)).astype(np.float32)
ASYMMETRIC = "asymmetric"
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
CASES = {
    "uneven pads": ("Conv", FLOAT, [("w", PICTURE[:, :, :3, :3])], {"pads": [0, 1, 2, 0]}),
    "groups": ("Conv", FLOAT, [("w", PICTURE.reshape(-1, 2, 3, 3)[:4])], {"group": 2}),
    "strides": ("Conv", FLOAT, [("w", PICTURE[:, :, :3, :3])], {"strides": [2, 3]}),
    "pool": ("MaxPool", FLOAT, [], {"kernel_shape": [3, 3], "strides": [2, 2]}),
    "slice": (
        "Slice", FLOAT,
        [("s", np.array([1, -3])), ("e", np.array([9, 99])), ("a", np.array([2, 3])),
         ("t", np.array([2, 1]))],
        {},
    ),
    "gather": ("Gather", FLOAT, [("i", np.array([[0, -1], [2, 1]]))], {"axis": 2}),
    "hard sigmoid": ("HardSigmoid", FLOAT, [], {"alpha": 0.3, "beta": 0.4}),
    "global mean": ("GlobalAveragePool", FLOAT, [], {}),
    "argmax": ("ArgMax", INT, [], {"axis": 1, "keepdims": 0}),
    "mean": ("ReduceMean", FLOAT, [], {"axes": [-1, 1], "keepdims": 0}),
    "sum": ("ReduceSum", FLOAT, [("a", np.array([2]))], {"keepdims": 1}),
    "sum of all": ("ReduceSum", FLOAT, [], {"keepdims": 0}),
    "reshape": ("Reshape", FLOAT, [("s", np.array([0, -1, 7]))], {}),
    "resize": (
        "Resize", FLOAT,
        [("r", np.zeros(0, np.float32)), ("s", np.array([1, 1, 2, 3], np.float32))],
        {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": ASYMMETRIC},
    ),
    "clip": ("Clip", FLOAT, [("l", np.float32(-0.5)), ("h", np.float32(0.25))], {}),
    "tile": ("Tile", FLOAT, [("r", np.array([1, 2, 1, 1]))], {}),
    "transpose": ("Transpose", FLOAT, [], {"perm": [0, 2, 3, 1]}),
    "softmax": ("Softmax", FLOAT, [], {"axis": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name):
    import onnxruntime as ort

    op, output, constants, attributes = CASES[name]
    constants = [(n, np.asarray(v)) for n, v in constants]
    model = network(op, PICTURE, output, constants, **attributes)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": PICTURE})
    call = TorchGraph(model, torch.device("cpu")).call(PICTURE.shape)
    (found,) = call(torch.from_numpy(PICTURE))
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
    assert call.shapes == [wanted.shape]


def test_what_it_does_not_know():
    model = network("Erf", PICTURE, FLOAT)
    with pytest.raises(BackendError, match="does not know the operators Erf"):
        TorchGraph(model, torch.device("cpu"))
    with pytest.raises(BackendError, match="fp32 and fp16, not 'int8'"):
        TorchBackend(precision="int8", device=HostDevice())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU here")
def test_no_gpu():
    with pytest.raises(BackendError, match=r"backend torch needs an NVIDIA GPU: .*onnxruntime$"):
        open_backend("torch")


def test_no_torch(monkeypatch):
    for module in ("edgepose.backends.torch", "edgepose.backends.torch_graph"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"torch is not installed .*pip install torch onnx$"):
        open_backend("torch")
