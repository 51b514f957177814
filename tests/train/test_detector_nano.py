import numpy as np
import onnx
import pytest
from onnx import helper

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from edgepose.bundle import SHIPPED  # noqa: E402
from edgepose.errors import DataError  # noqa: E402
from edgepose.train.detector import export_detector  # noqa: E402
from edgepose.train.detector_nano import NanoDetector  # noqa: E402


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return NanoDetector().eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_detector(model, tmp_path_factory.mktemp("nano") / "detector.onnx", (64, 96))


def _outputs(model, inputs):
    with torch.no_grad():
        return [out.numpy() for out in model(torch.from_numpy(inputs))]


def test_the_file_takes_both_orientations(exported, model):
    copy = NanoDetector().eval()
    copy.load_onnx(exported)
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for height, width in ((64, 96), (96, 64)):
        inputs = rng.normal(size=(1, 3, height, width)).astype(np.float32)
        boxes, scores = session.run(["boxes", "scores"], {"image": inputs})
        assert boxes.shape == (1, height * width * 21 // 1024, 4)
        for got, want in zip((boxes, scores), _outputs(copy, inputs), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-4)
        # The file's weights are rounded to float16.
        np.testing.assert_allclose(scores, _outputs(model, inputs)[1], atol=1e-2)


def _as_rtmdet(exported, path):
    """The file as RTMDet's is: outputs of other names, convolutions in order, weights nameless."""
    model = onnx.load(str(exported))
    own = [name for name, _ in NanoDetector().named_parameters()]
    names = {name: f"w{i}" for i, name in enumerate(own)}
    graph = model.graph
    order = {f"w{i}": i for i in range(len(own))}
    for node in graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    convolutions = [n for n in graph.node if n.op_type == "Conv"]
    others = [n for n in graph.node if n.op_type != "Conv"]
    del graph.node[:]
    graph.node.extend([*others, *sorted(convolutions, key=lambda n: order[n.input[1]])])
    for name in ("dets", "labels"):
        graph.output.append(helper.make_empty_tensor_value_info(name))
    del graph.output[:2]
    path.write_bytes(model.SerializeToString())
    return path


def test_rtmdet_s_pixels_become_a_bundle_s(exported, tmp_path):
    """BGR less its mean by its deviation in, the same as RGB less 127 by 128 in the copy."""
    theirs, ours = NanoDetector().eval(), NanoDetector().eval()
    theirs.load_onnx(exported)
    ours.load_onnx(_as_rtmdet(exported, tmp_path / "rtmdet.onnx"))
    rgb = np.random.default_rng(1).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    mean, std = np.array([[103.53, 116.28, 123.675], [57.375, 57.12, 58.395]])[..., None, None]
    inputs = ((rgb[:, ::-1] - mean) / std).astype(np.float32)
    with torch.no_grad():
        want = theirs.to8[0](torch.from_numpy(inputs))
        got = ours.to8[0](torch.from_numpy((rgb - 127) / 128))
    # But for the padding at the border, which is another grey.
    np.testing.assert_allclose(got[..., 1:, 1:], want[..., 1:, 1:], atol=1e-4)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="is no RTMDet-nano"):
        NanoDetector().load_onnx(SHIPPED / "stage1.onnx")
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not an ONNX file"):
        NanoDetector().load_onnx(tmp_path / "x.onnx")


def test_the_fine_stages_keep_their_weights(model):
    logits, boxes, _ = model.raw(torch.randn(1, 3, 64, 64))
    (logits.sum() + boxes.sum()).backward()
    assert all(p.grad is None for p in model.to8.parameters())
    assert all(p.grad is not None for p in model.heads.parameters())
    model.zero_grad(set_to_none=True)
