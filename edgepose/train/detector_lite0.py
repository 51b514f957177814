"""A person detector on EfficientNet-Lite0's ImageNet weights, for who wants no other origin."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgepose.train.detector_loss import STRIDES, grid
from edgepose.train.detector_net import DetectorNet, enlarge
from edgepose.train.networks import Lite0, conv_bn

_PRIOR_SCORE = 0.01  # of an untrained network: almost every point is background
_PRIOR_SIDE = 1.5  # distance to each edge of an untrained network, in strides


def _separable(channels: int, stride: int = 1) -> nn.Sequential:
    """5x5 depthwise and 1x1: a wide view for few multiplications."""
    return nn.Sequential(
        conv_bn(channels, channels, 5, stride, groups=channels, act=False),
        conv_bn(channels, channels),
    )


class Lite0Detector(DetectorNet):
    """EfficientNet-Lite0 to stride 16, a small feature pyramid and one light head per level.

    The last of the backbone's stride-16 blocks is left out: a tenth of the time, hardly missed.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.backbone = Lite0(groups=5, frozen=2)
        deepest = cast(nn.Sequential, self.backbone.groups[4])
        self.backbone.groups[4] = deepest[:2]
        self.lateral8 = conv_bn(40, channels)
        self.lateral16 = conv_bn(112, channels)
        self.down = nn.Sequential(conv_bn(112, channels), _separable(channels, 2))
        self.coarse = nn.Sequential(_separable(channels), _separable(channels))
        self.smooth16 = _separable(channels)
        self.smooth8 = _separable(channels)
        self.heads = nn.ModuleList(
            nn.Sequential(_separable(channels), _separable(channels), nn.Conv2d(channels, 5, 1))
            for _ in STRIDES
        )
        for head in self.heads:
            last = cast(nn.Conv2d, cast(nn.Sequential, head)[-1])
            nn.init.normal_(last.weight, std=0.01)
            bias = [_logit(_PRIOR_SCORE)] + [float(torch.tensor(_PRIOR_SIDE).log())] * 4
            last.bias = nn.Parameter(torch.tensor(bias))
        for module in self.modules():
            # The backbone's statistics are trained; the pyramid's must be learnt in one short run.
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.03

    def train(self, mode: bool = True) -> Lite0Detector:
        """Switch to training, but for the backbone's batch statistics, which stay ImageNet's."""
        super().train(mode)
        self.backbone.eval()
        return self

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to score logits (B, N), boxes (B, N, 4) and points (N, 2), pixels."""
        _, c8, c16 = self.backbone(x)
        p32 = self.coarse(self.down(c16))
        p16 = self.smooth16(self.lateral16(c16) + enlarge(p32))
        p8 = self.smooth8(self.lateral8(c8) + enlarge(p16))
        maps = [head(p).flatten(2) for head, p in zip(self.heads, (p8, p16, p32), strict=True)]
        y = torch.cat(maps, 2).transpose(1, 2).float()
        points, strides = grid(x.shape[-2], x.shape[-1], 0.5, x.device)
        return y[..., 0], boxes_at(points, strides, y[..., 1:]), points


def _logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p)))


def boxes_at(points: Tensor, strides: Tensor, distances: Tensor) -> Tensor:
    """Log distances (B, N, 4) left, top, right, bottom in strides, to boxes (B, N, 4) in pixels."""
    # e^5 strides is far beyond any input; the clamp keeps an early network finite.
    d = distances.clamp(-5.0, 5.0).exp() * strides
    return torch.cat((points - d[..., :2], points + d[..., 2:]), -1)
