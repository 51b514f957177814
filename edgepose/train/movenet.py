"""Stage 1 from MoveNet: its trunk, read from an ONNX file that the user names, with our own maps.

MoveNet (Google 2021, Apache-2.0) is a MobileNetV2 (Sandler et al. 2018) under a feature pyramid
(Lin et al. 2017) of 64, 32 and 24 channels at strides 16, 8 and 4, batch normalisation folded. A
separable convolution makes one map per joint. What MoveNet adds to find the person itself (centre,
regression and offset maps) is left out: our crop holds one person in its middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.errors import DataError
from edgepose.train.networks import SameConv
from edgepose.train.stage_net import Crops, StageNet
from edgepose.train.thinning import copy_channels, thin

# expansion, channels, repeats, stride: the published MobileNetV2 table.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM = 32
PYRAMID = (64, 32, 24, 24)  # channels at strides 16, 8, 4, and behind the last smoothing
HEAD = 96  # channels that the maps are made of
MOVENET_LAST = 1280
LAST = 320  # channels before the pyramid: of MoveNet's a quarter does
# The blocks whose outputs join the pyramid, the last of their stride.
_AT16, _AT8, AT4 = 9, 5, 2
# MoveNet's joints are COCO's; this is where our first twelve lie among them.
_COCO_JOINTS = 17
_COCO = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9)
_FACE, _SHOULDERS = slice(0, 5), (5, 6)
_Weights = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def block_rows(stem: int) -> list[tuple[int, int, int, int]]:
    """Channels in and out, stride, expansion of every block behind ``stem`` channels."""
    rows, cin = [], stem
    for expand, cout, repeats, stride in _MOBILENET_V2:
        for i in range(repeats):
            rows.append((cin, cout, stride if i == 0 else 1, expand))
            cin = cout
    return rows


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1, with folded batch normalisation and ReLU6."""

    def __init__(self, cin: int, cout: int, stride: int, expand: int) -> None:
        super().__init__()
        mid = cin * expand
        self.expand = SameConv(cin, mid, 1) if expand > 1 else None
        self.depthwise = SameConv(mid, mid, 3, stride, groups=mid)
        self.project = SameConv(mid, cout, 1)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) to (N, cout, H/stride, W/stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = F.relu6(self.depthwise(y))
        result: Tensor = self.project(y)
        return x + result if self.residual else result

    def convolutions(self) -> Iterator[SameConv]:
        """The convolutions in the order of computation."""
        yield from (c for c in (self.expand, self.depthwise, self.project) if c is not None)


class Separable(nn.Module):
    """Depthwise 3x3, 1x1 and ReLU."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.depthwise = SameConv(cin, cin, 3, groups=cin, bias=False)
        self.pointwise = SameConv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) to (N, cout, H, W)."""
        return F.relu(self.pointwise(self.depthwise(x)))


class MoveNetTrunk(nn.Module):
    """MobileNetV2 and pyramid. The stem and the first ``frozen`` blocks keep their weights.

    ``last`` channels before the pyramid; MoveNet has 1,280.
    """

    def __init__(self, frozen: int = 3, last: int = LAST) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList(InvertedResidual(*row) for row in block_rows(_STEM))
        self.last = SameConv(_MOBILENET_V2[-1][1], last, 1)
        at16, at8, at4, out = PYRAMID
        self.top = SameConv(last, at16, 1)
        self.lateral = nn.ModuleList(
            SameConv(c, o, 1) for c, o in ((64, at16), (32, at8), (24, at4))
        )
        self.smooth = nn.ModuleList(
            (Separable(at16, at8), Separable(at8, at4), Separable(at4, out))
        )
        self.frozen = frozen
        if frozen:
            for module in (self.stem, *self.blocks[:frozen]):
                module.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) normalised RGB, S a multiple of 32, to (N, 24, S/4, S/4)."""
        kept = self.features(x)
        y: Tensor = self.top(F.relu6(self.last(kept[-1])))
        for lateral, smooth, at in zip(self.lateral, self.smooth, (_AT16, _AT8, AT4), strict=True):
            fine = lateral(kept[at])
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = smooth(y + fine)
        return y

    def features(self, x: Tensor) -> list[Tensor]:
        """(N, 3, S, S) to what each block gives."""
        kept = []
        # Nothing below the frozen front needs a gradient, nor its activations kept.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = F.relu6(self.stem(x))
            for block in self.blocks[: self.frozen]:
                x = block(x)
                kept.append(x)
        for block in self.blocks[self.frozen :]:
            x = block(x)
            kept.append(x)
        return kept

    def convolutions(self) -> Iterator[SameConv]:
        """The convolutions in the order of MoveNet's graph."""
        yield self.stem
        for block in self.blocks:
            assert isinstance(block, InvertedResidual)
            yield from block.convolutions()
        yield from (self.last, self.top)
        for lateral, smooth in zip(self.lateral, self.smooth, strict=True):
            assert isinstance(smooth, Separable)
            assert isinstance(lateral, SameConv)
            yield from (lateral, smooth.depthwise, smooth.pointwise)


class MoveNetStageOne(StageNet):
    """Stage 1 on MoveNet's trunk: the whole person to one map per joint at stride 4.

    ``prior`` (k, 12, 12) is added to the logits: where in its crop a joint tends to be. It tells
    the person in the middle from a neighbour, as MoveNet does by the distance to the centre.
    ``slow``: parameters that start trained and learn at a fraction of the rate.
    """

    slow = ("trunk.",)

    def __init__(self, joints: int, frozen: int = 3, last: int = LAST) -> None:
        super().__init__()
        self.joints = joints
        self.trunk = MoveNetTrunk(frozen, last)
        self.smooth = Separable(PYRAMID[-1], HEAD)
        self.head = SameConv(HEAD, joints, 1)
        self.prior = nn.Parameter(torch.zeros(1, joints, 12, 12))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) normalised RGB, S a multiple of 32, to logits (N, k, S/4, S/4)."""
        logits: Tensor = self.head(self.smooth(self.trunk(x)))
        side = [int(s) for s in logits.shape[-2:]]
        return logits + F.interpolate(self.prior, size=side, mode="bilinear", align_corners=False)

    def begin(self, source: Path | None, crops: Crops) -> None:
        """Start from the MoveNet file that the user names."""
        if source is None:
            raise DataError(
                "the network 'movenet' starts from weights that you name: --init FILE, MoveNet "
                "Lightning's ONNX file or a checkpoint; or choose --recipe edgepose-lite0"
            )
        self.read(source, crops())

    @torch.no_grad()
    def read(self, path: Path, crops: Tensor) -> None:
        """Copy MoveNet's weights from an ONNX file; DataError if it is not a MoveNet Lightning.

        Neck and head top, which COCO lacks, start from the shoulders' and the face's maps. Where
        MoveNet's last layer is wider, ``crops`` (N, 3, S, S) of training persons show what to keep.
        """
        weights = read_movenet(path)
        wide = MoveNetTrunk(last=MOVENET_LAST)
        head = SameConv(HEAD, _COCO_JOINTS, 1)
        theirs = list(wide.convolutions())
        every = (*theirs, self.smooth.depthwise, self.smooth.pointwise, head)
        if [tuple(c.weight.shape) for c in every] != [w.shape for w, _ in weights]:
            raise DataError(
                f"{path} does not hold the layers of MoveNet Lightning; "
                "give the ONNX file of its single-pose network"
            )
        for conv, (weight, bias) in zip(every, weights, strict=True):
            conv.weight.copy_(torch.from_numpy(weight))
            if conv.bias is not None and bias is not None:
                conv.bias.copy_(torch.from_numpy(bias))
        for target, value in ((self.head.weight, head.weight), (self.head.bias, head.bias)):
            if target is not None and value is not None:
                made_up = value[list(_SHOULDERS)].mean(0), value[_FACE].mean(0)
                target.copy_(torch.cat((value[list(_COCO)], torch.stack(made_up))))
        # Its input is x · scale - 1 on 0…255, ours (x - 127) / 128: folded into the stem.
        scale, stem = 0.00784302, wide.stem
        if stem.bias is not None:
            stem.bias += stem.weight.sum((1, 2, 3)) * (127 * scale - 1)
        stem.weight *= 128 * scale
        for own, other in zip(self.trunk.convolutions(), theirs, strict=True):
            if own.weight.shape == other.weight.shape:
                own.load_state_dict(other.state_dict())
        if self.trunk.last.out_channels < MOVENET_LAST:
            inner = F.relu6(wide.last(wide.features(crops)[-1]))
            copy_channels(wide.last, self.trunk.last, thin(inner, wide.top, self.trunk.top))


def read_movenet(path: Path) -> list[_Weights]:
    """Convolutions (weight, bias) of a MoveNet's trunk, then of its joints' maps, in graph order.

    Weights may be stored as float16 behind a Cast. DataError if it cannot be read.
    """
    try:
        graph = onnx.load(str(path)).graph
    except (OSError, ValueError, DecodeError) as error:
        raise DataError(f"cannot read {path} as ONNX; give MoveNet Lightning's file") from error
    values = {t.name: numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    trunk: list[_Weights] = []
    head: list[_Weights] = []
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in values:
            continue
        bias = values.get(node.input[2]) if len(node.input) > 2 else None
        name = node.output[0]
        if "kpt_heatmap_0" in name:
            head.append((values[node.input[1]], bias))
        elif "kpt_" not in name and "center_0" not in name:
            trunk.append((values[node.input[1]], bias))
    return trunk + head
