import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from edgepose.train.onnx_graph import tidy  # noqa: E402


def _padded_conv(path, pads, level=0.0, mode="constant", own=(0, 0, 0, 0)):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Pad", ["x", "pads", "level"], ["padded"], mode=mode),
        helper.make_node("Conv", ["padded", "weight"], ["y"], strides=[2, 2], pads=list(own)),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [
            helper.make_tensor("pads", TensorProto.INT64, [8], pads),
            helper.make_tensor("level", TensorProto.FLOAT, [], [level]),
            helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.ravel()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def _run(path):
    x = np.random.default_rng(1).normal(size=(2, 3, 9, 8)).astype(np.float32)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _operators(path):
    return [node.op_type for node in onnx.load(str(path)).graph.node]


@pytest.mark.parametrize("own", [(0, 0, 0, 0), (1, 0, 2, 1)])
def test_zero_padding_moves_into_the_convolution(tmp_path, own):
    path = tmp_path / "net.onnx"
    _padded_conv(path, [0, 0, 0, 1, 0, 0, 2, 1], own=own)
    before = _run(path)
    tidy(path)
    assert _operators(path) == ["Conv"]
    np.testing.assert_allclose(_run(path), before, atol=1e-5)
    assert [o.domain for o in onnx.load(str(path)).opset_import] == [""]


@pytest.mark.parametrize(
    "change",
    [{"level": 1.0}, {"mode": "reflect"}, {"pads": [0, 0, 0, 0, 0, 0, -1, 0]}],
)
def test_other_padding_stays(tmp_path, change):
    path = tmp_path / "net.onnx"
    _padded_conv(path, **{"pads": [0, 0, 1, 1, 0, 0, 1, 1], **change})
    before = _run(path)
    tidy(path)
    assert _operators(path) == ["Pad", "Conv"]
    np.testing.assert_allclose(_run(path), before, atol=1e-5)
