"""The person detector's network and its loss: anchor-free, one class, three levels.

Every point of the maps at strides 8, 16 and 32 predicts a box, as distances to its four edges
(FCOS, Tian et al. 2019), and a score that is trained towards the overlap of that box with the
person (task-aligned assignment: TOOD, Feng et al. 2021; varifocal weighting: Zhang et al. 2021), so
the score ranks boxes by how well they fit.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.train.networks import Lite0, conv_bn

STRIDES = (8, 16, 32)
_PRIOR_SCORE = 0.01  # of an untrained network: almost every point is background
_PRIOR_SIDE = 1.5  # distance to each edge of an untrained network, in strides


def _separable(channels: int, stride: int = 1) -> nn.Sequential:
    """5x5 depthwise and 1x1: a wide view for few multiplications."""
    return nn.Sequential(
        conv_bn(channels, channels, 5, stride, groups=channels, act=False),
        conv_bn(channels, channels),
    )


class DetectorNet(nn.Module):
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

    def train(self, mode: bool = True) -> DetectorNet:
        """Switch to training, but for the backbone's batch statistics, which stay ImageNet's."""
        super().train(mode)
        self.backbone.eval()
        return self

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to score logits (B, N) and log distances (B, N, 4) in strides."""
        _, c8, c16 = self.backbone(x)
        p32 = self.coarse(self.down(c16))
        p16 = self.smooth16(self.lateral16(c16) + _enlarge(p32))
        p8 = self.smooth8(self.lateral8(c8) + _enlarge(p16))
        maps = [head(p).flatten(2) for head, p in zip(self.heads, (p8, p16, p32), strict=True)]
        y = torch.cat(maps, 2).transpose(1, 2)
        return y[..., 0], y[..., 1:]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Detect: (B, 3, H, W) normalised RGB, sides multiples of 32, to boxes and scores.

        Returns boxes (B, N, 4) ``x0, y0, x1, y1`` in input pixels and scores (B, N) in [0, 1]; in
        training mode what :meth:`raw` gives.
        """
        logits, distances = self.raw(x)
        if self.training:
            return logits, distances
        points, strides = grid(x.shape[-2], x.shape[-1], x.device)
        return boxes_at(points, strides, distances), logits.sigmoid()


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p)))


def grid(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Points (N, 2) x, y in pixels and strides (N, 1) of all levels, in the network's order."""
    points, strides = [], []
    for stride in STRIDES:
        y = (torch.arange(height // stride, device=device) + 0.5) * stride
        x = (torch.arange(width // stride, device=device) + 0.5) * stride
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((xx, yy), -1).reshape(-1, 2))
        strides.append(torch.full((points[-1].shape[0], 1), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)


def boxes_at(points: Tensor, strides: Tensor, distances: Tensor) -> Tensor:
    """Log distances (B, N, 4) left, top, right, bottom in strides, to boxes (B, N, 4) in pixels."""
    # e^5 strides is far beyond any input; the clamp keeps an early network finite.
    d = distances.clamp(-5.0, 5.0).exp() * strides
    return torch.cat((points - d[..., :2], points + d[..., 2:]), -1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(B, G, 4) and (B, N, 4) to intersection over union (B, G, N), 0 for empty boxes."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return inter / (area_a[:, :, None] + area_b[:, None, :] - inter).clamp(min=1e-6)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of paired boxes (n, 4): (n,) in [-1, 1]."""
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1)
    both = inter.prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - both
    return both / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def assign(
    scores: Tensor, boxes: Tensor, points: Tensor, truth: Tensor, topk: int = 9
) -> tuple[Tensor, Tensor]:
    """Give each person the ``topk`` points that predict it best (TOOD, with alpha 1 and beta 6).

    ``scores`` (B, N), ``boxes`` (B, N, 4), ``points`` (N, 2), ``truth`` (B, G, 4) with empty
    boxes as filling. Returns targets (B, N), 0 for background, and the person's index (B, N).
    """
    iou = pairwise_iou(truth, boxes)
    inside = (points > truth[:, :, None, :2]).all(-1) & (points < truth[:, :, None, 2:]).all(-1)
    align = scores[:, None, :] * iou.pow(6) * inside
    best = align.topk(min(topk, align.shape[-1]), dim=-1).indices
    chosen = torch.zeros_like(align).scatter_(-1, best, 1.0) * (align > 0)
    # A point that two persons want goes to the one it overlaps more.
    owner = (iou * chosen).argmax(1)
    chosen = chosen * F.one_hot(owner, truth.shape[1]).transpose(1, 2)
    align = align * chosen
    peak = (iou * chosen).amax(-1, keepdim=True)
    target = align / align.amax(-1, keepdim=True).clamp(min=1e-12) * peak
    return target.amax(1), owner


def detection_loss(
    logits: Tensor, distances: Tensor, size: tuple[int, int], truth: Tensor, ignore: Tensor
) -> tuple[Tensor, Tensor]:
    """Score loss and box loss, both per unit of matched overlap; scalars.

    ``logits`` (B, N), ``distances`` (B, N, 4), ``size`` (H, W) of the input, ``truth`` (B, G, 4)
    and ``ignore`` (B, K, 4) in pixels, empty boxes as filling. Points inside an ignored box that no
    person claims count neither as person nor as background.
    """
    points, strides = grid(*size, device=logits.device)
    boxes = boxes_at(points, strides, distances)
    with torch.no_grad():
        scores = logits.sigmoid()
        target, owner = assign(scores, boxes, points, truth)
        unknown = (points > ignore[:, :, None, :2]).all(-1) & (points < ignore[:, :, None, 2:]).all(
            -1
        )
        background = (target == 0) & ~unknown.any(1)
        weight = torch.where(target > 0, target, 0.75 * scores.square() * background)
        total = target.sum().clamp(min=1.0)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    score_loss = (bce * weight).sum() / total
    found = target > 0
    matched = torch.gather(truth, 1, owner[..., None].expand(-1, -1, 4))[found]
    box_loss = ((1 - giou(boxes[found], matched)) * target[found]).sum() / total
    return score_loss, box_loss
