"""The person detector that ships: RTMDet-nano (Lyu et al. 2022), batch norms folded.

CSPNeXt to stride 32 with a squeeze of each stage, a path-aggregation pyramid and two light heads
per level; 0.99 million parameters. It starts from the published weights (Apache-2.0; trained on
COCO), read from an ONNX file that the user names, or from a bundle's ``detector.onnx``.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.errors import DataError
from edgepose.train.detector_loss import STRIDES, grid
from edgepose.train.detector_net import DetectorNet, enlarge

# How RTMDet takes its pixels (BGR), and how a bundle gives them (RGB, 127 and 128).
_THEIR_MEAN, _THEIR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
_OUR_MEAN, _OUR_STD = 127.0, 128.0
_RTMDET_OUTPUTS = {"dets", "labels"}


def _conv(cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups), nn.SiLU(inplace=True)
    )


def _separable(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(cin, cin, kernel, stride, cin), _conv(cin, cout))


class _Block(nn.Module):
    """Depthwise 3x3 and 5x5, each with a 1x1; ``add``: beside the identity."""

    def __init__(self, channels: int, add: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(_separable(channels, channels), _separable(channels, channels, 5))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y: Tensor = self.body(x)
        return x + y if self.add else y


class _Squeeze(nn.Module):
    """Scales each channel by what its mean over the map says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x * F.hardsigmoid(self.fc(F.adaptive_avg_pool2d(x, 1)))


class _CrossStage(nn.Module):
    """Half of the channels through ``blocks`` blocks, half beside them (CSP)."""

    def __init__(self, cin: int, cout: int, blocks: int, add: bool, squeeze: bool) -> None:
        super().__init__()
        half = cout // 2
        self.short, self.main = _conv(cin, half), _conv(cin, half)
        self.blocks = nn.Sequential(*(_Block(half, add) for _ in range(blocks)))
        self.squeeze = _Squeeze(cout) if squeeze else nn.Identity()
        self.final = _conv(cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) to (B, cout, H, W)."""
        joined = torch.cat((self.blocks(self.main(x)), self.short(x)), 1)
        y: Tensor = self.final(self.squeeze(joined))
        return y


class _Pooling(nn.Module):
    """Maxima of three neighbourhoods beside the map itself (SPP)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow, self.join = _conv(channels, channels // 2), _conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.narrow(x)
        y: Tensor = self.join(
            torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1)
        )
        return y


def _stage(cin: int, cout: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(_separable(cin, cout, 3, 2), _CrossStage(cout, cout, blocks, True, True))


def _joined(cin: int, cout: int) -> _CrossStage:
    return _CrossStage(cin, cout, 1, False, False)


class _Head(nn.Module):
    """Score logit and distances of one level."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def tower(outputs: int) -> nn.Sequential:
            layers = (_separable(channels, channels) for _ in range(2))
            return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 1))

        self.score, self.distance = tower(1), tower(4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 5, H·W)."""
        return torch.cat((self.score(x), self.distance(x)), 1).flatten(2)


class NanoDetector(DetectorNet):
    """RTMDet-nano for persons. Stem and stages to stride 8 keep their weights in training.

    There lie three quarters of the pixels; and without batch norms large steps lose the start.
    """

    # Modules are listed in the order in which the graph runs them: load_onnx relies on it.
    def __init__(self) -> None:
        super().__init__()
        stem = (_conv(3, 8, 3, 2), _conv(8, 8, 3), _conv(8, 16, 3))
        self.to8 = nn.Sequential(*stem, _stage(16, 32, 1), _stage(32, 64, 2))
        self.to16 = _stage(64, 128, 2)
        self.to32 = nn.Sequential(
            _separable(128, 256, 3, 2), _Pooling(256), _CrossStage(256, 256, 1, False, True)
        )
        self.reduce32, self.down16 = _conv(256, 128), _joined(256, 128)
        self.reduce16, self.down8 = _conv(128, 64), _joined(128, 64)
        self.shrink8, self.up16 = _separable(64, 64, 3, 2), _joined(128, 128)
        self.shrink16, self.up32 = _separable(128, 128, 3, 2), _joined(256, 256)
        self.narrow = nn.ModuleList(_separable(channels, 64) for channels in (64, 128, 256))
        self.heads = nn.ModuleList(_Head(64) for _ in STRIDES)
        self.to8.requires_grad_(False)

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to score logits (B, N), boxes (B, N, 4) and points (N, 2), pixels."""
        with torch.no_grad():
            at8 = self.to8(x)
        at16 = self.to16(at8)
        top = self.reduce32(self.to32(at16))
        middle = self.reduce16(self.down16(torch.cat((enlarge(top), at16), 1)))
        fine = self.down8(torch.cat((enlarge(middle), at8), 1))
        middle = self.up16(torch.cat((self.shrink8(fine), middle), 1))
        coarse = self.up32(torch.cat((self.shrink16(middle), top), 1))
        levels = zip(self.narrow, self.heads, (fine, middle, coarse), strict=True)
        y = torch.cat([head(narrow(p)) for narrow, head, p in levels], 2).transpose(1, 2).float()
        # RTMDet's points lie on the upper left corner of their cells.
        points, strides = grid(x.shape[-2], x.shape[-1], 0.0, x.device)
        reach = y[..., 1:] * strides
        boxes = torch.cat((points - reach[..., :2], points + reach[..., 2:]), -1)
        return y[..., 0], boxes, points

    def load_onnx(self, path: Path) -> None:
        """Copy the weights of RTMDet-nano's ONNX file, or of a bundle's ``detector.onnx``.

        A bundle's weights have this module's names, RTMDet's convolutions its order. Raises
        DataError if the file is neither.
        """
        import onnx
        from onnx import numpy_helper

        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:
            raise DataError(f"{path} is not an ONNX file; name RTMDet-nano's") from error
        stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        # Weights may be stored as float16, behind a Cast.
        stored |= {
            n.output[0]: stored[n.input[0]]
            for n in graph.node
            if n.op_type == "Cast" and n.input[0] in stored
        }
        own = dict(self.named_parameters())
        theirs = {output.name for output in graph.output} == _RTMDET_OUTPUTS
        names = [n for c in graph.node if c.op_type == "Conv" for n in c.input[1:]]
        found = dict(zip(own, names, strict=False)) if theirs else {name: name for name in own}
        if len(names) != len(own) or any(
            n not in stored or stored[n].shape != own[o].shape for o, n in found.items()
        ):
            raise DataError(f"{path} is no RTMDet-nano for one class; name its ONNX file")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(torch.from_numpy(np.array(stored[found[name]], np.float32)))
            if theirs:
                _take_our_pixels(cast(nn.Conv2d, cast(nn.Sequential, self.to8[0])[0]))


def is_rtmdet(path: Path) -> bool:
    """Whether an ONNX file has RTMDet's outputs; False for one that cannot be read."""
    import onnx

    try:
        return {output.name for output in onnx.load(str(path)).graph.output} == _RTMDET_OUTPUTS
    except Exception:  # noqa: BLE001 - protobuf's errors have no common base
        return False


def _take_our_pixels(stem: nn.Conv2d) -> None:
    """Fold RTMDet's normalisation into the first convolution, in place."""
    std, mean = torch.tensor(_THEIR_STD), torch.tensor(_THEIR_MEAN)
    shift = ((_OUR_MEAN - mean) / std)[None, :, None, None]
    cast(Tensor, stem.bias).add_((stem.weight * shift).sum((1, 2, 3)))
    stem.weight.mul_((_OUR_STD / std)[None, :, None, None])
    stem.weight.copy_(stem.weight.flip(1))
