import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from edgepose.errors import DataError
from edgepose.skeleton import LSP14
from edgepose.train.heads import expected_displacement
from edgepose.train.movenet import (
    MOVENET_LAST,
    MoveNetStageOne,
    MoveNetTrunk,
    Separable,
    read_movenet,
)
from edgepose.train.movenet_refine import MoveNetRefine
from edgepose.train.networks import SameConv
from edgepose.train.thinning import thin


@pytest.fixture(scope="module")
def crops():
    torch.manual_seed(0)
    return torch.rand(6, 3, 64, 64) * 2 - 1


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file with MoveNet Lightning's layers, random weights and names as its exporter gives."""
    torch.manual_seed(1)
    trunk, smooth, head = MoveNetTrunk(last=MOVENET_LAST), Separable(24, 96), SameConv(96, 17, 1)
    named = [(f"trunk/{i}", c) for i, c in enumerate(trunk.convolutions())]
    named.append(("center_0/0", SameConv(24, 1, 1)))
    named += [
        (f"kpt_heatmap_0/{i}", c) for i, c in enumerate((smooth.depthwise, smooth.pointwise, head))
    ]
    named.append(("kpt_regress_0/0", SameConv(24, 34, 1)))
    nodes, values = [], []
    for name, conv in named:
        half = conv.weight.detach().half()
        conv.weight.data = half.float()
        values.append(numpy_helper.from_array(half.numpy(), f"{name}.w16"))
        nodes.append(helper.make_node("Cast", [f"{name}.w16"], [f"{name}.w"], to=TensorProto.FLOAT))
        inputs = ["x", f"{name}.w"]
        if conv.bias is not None:
            values.append(numpy_helper.from_array(conv.bias.detach().numpy(), f"{name}.b"))
            inputs.append(f"{name}.b")
        nodes.append(helper.make_node("Conv", inputs, [name]))
    path = tmp_path_factory.mktemp("movenet") / "movenet.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [], [], values)), str(path))
    return path, trunk, smooth, head


def test_the_wide_stage_computes_what_the_file_holds(source, crops):
    path, trunk, smooth, head = source
    ours = MoveNetStageOne(len(LSP14), last=MOVENET_LAST).eval()
    ours.read(path, crops)
    with torch.no_grad():
        pixels = crops * 128 + 127
        theirs = head(smooth(trunk(pixels * 0.00784302 - 1)))
        mine = ours(crops)
    knee, left_wrist = LSP14.index("right_knee"), LSP14.index("left_wrist")
    # "Same" padding is zero in either normalisation, so borders of the picture differ a little.
    scale = float(theirs.std())
    for joint, coco in ((knee, 14), (left_wrist, 9)):
        difference = (mine[:, joint] - theirs[:, coco])[:, 2:-2, 2:-2].abs().median()
        assert float(difference) < 0.02 * scale
    top = (mine[:, LSP14.index("head_top")] - theirs[:, :5].mean(1)).abs().median()
    assert float(top) < 0.02 * scale


def test_a_narrow_stage_keeps_most_of_what_the_wide_one_does(source, crops):
    path = source[0]
    outputs = []
    for last in (MOVENET_LAST, 320):
        stage = MoveNetStageOne(len(LSP14), last=last).eval()
        stage.read(path, crops)
        with torch.no_grad():
            outputs.append(stage(crops))
    error = (outputs[1] - outputs[0]).var() / outputs[0].var()
    assert 0 < float(error) < 0.1


def test_thin_finds_the_channels_that_matter():
    torch.manual_seed(0)
    inner = torch.randn(4, 12, 16, 16)
    wide, narrow = torch.nn.Conv2d(12, 5, 1), torch.nn.Conv2d(4, 5, 1)
    with torch.no_grad():
        wide.weight[:, [0, 2, 3, 5, 7, 8, 10, 11]] *= 1e-3
        kept = thin(inner, wide, narrow)
        assert kept.tolist() == [1, 4, 6, 9]
        assert torch.allclose(narrow(inner[:, kept]), wide(inner), atol=0.02)


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_another_file_is_refused_in_a_sentence(tmp_path, crops, content):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.onnx"):
        MoveNetStageOne(len(LSP14)).read(path, crops)
    with pytest.raises(DataError, match="cannot read"):
        read_movenet(tmp_path / "missing.onnx")


def test_the_later_stage_starts_as_a_thinner_copy(source, crops):
    one = MoveNetStageOne(len(LSP14))
    one.read(source[0], crops)
    two = MoveNetRefine(len(LSP14), 48)
    two.start_from(one.state_dict(), lambda: crops)
    x = torch.rand(14, 3, 48, 48) * 2 - 1
    with torch.no_grad():
        theirs = one.trunk.features(x)[5]
        y = F.relu6(two.stem(x))
        for block in two.blocks:
            y = block(y)
    assert float((y - theirs).var() / theirs.var()) < 0.4
    with pytest.raises(DataError, match="same recipe"):
        two.start_from({"backbone.stem.weight": torch.zeros(1)}, lambda: crops)


def test_the_joint_of_a_row_is_its_place_or_named():
    torch.manual_seed(0)
    two = MoveNetRefine(14, 48).eval()
    for table in (two.scale8, two.shift8, two.shift4, two.prior):
        torch.nn.init.normal_(table)
    x = torch.rand(28, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(two(x), two(x, torch.arange(28) % 14))
        assert not torch.allclose(two(x), two(x, (torch.arange(28) + 1) % 14))


def test_a_joint_moves_as_far_as_it_is_sure():
    logits = torch.full((3, 145), -40.0)
    cell = 3 * 12 + 8  # row 3, column 8 of 12
    logits[0, cell] = 0
    logits[1, [cell, 144]] = 0  # as likely outside
    logits[2, 144] = 0
    moved, mass = expected_displacement(logits)
    right = torch.tensor([(8 + 0.5) / 12 - 0.5, (3 + 0.5) / 12 - 0.5])
    torch.testing.assert_close(moved, right * torch.tensor([[1.0], [0.5], [0.0]]))
    torch.testing.assert_close(mass, torch.tensor([1.0, 0.5, 0.0]), atol=1e-6, rtol=0)


@pytest.mark.skipif("EDGEPOSE_MOVENET" not in os.environ, reason="EDGEPOSE_MOVENET names no file")
def test_the_real_file_gives_movenets_own_maps(crops):
    import onnxruntime

    path = Path(os.environ["EDGEPOSE_MOVENET"])
    stage = MoveNetStageOne(len(LSP14), last=MOVENET_LAST).eval()
    stage.read(path, crops)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    levels = np.random.default_rng(0).integers(0, 256, (1, 192, 192, 3))
    theirs = session.run(["heatmap"], {session.get_inputs()[0].name: levels.astype(np.int32)})[0]
    x = torch.from_numpy((levels.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128)
    with torch.no_grad():
        ours = stage(x).sigmoid().numpy()
    assert np.abs(ours[0, LSP14.index("right_knee")] - theirs[0, 14]).max() < 0.01
