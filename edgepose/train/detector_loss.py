"""What every detector of this package shares: its points, the assignment of persons, the loss.

Anchor-free, one class. Every point of the maps at strides 8, 16 and 32 predicts a box, as distances
to its four edges (FCOS, Tian et al. 2019), and a score that is trained towards the overlap of that
box with the person (task-aligned assignment: TOOD, Feng et al. 2021; varifocal weighting: Zhang et
al. 2021), so the score ranks boxes by how well they fit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STRIDES = (8, 16, 32)


def grid(
    height: int, width: int, offset: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Points (N, 2) x, y in pixels and strides (N, 1) of all levels, in the network's order.

    ``offset``: where in its cell a point lies, in strides.
    """
    points, strides = [], []
    for stride in STRIDES:
        y = (torch.arange(height // stride, device=device) + offset) * stride
        x = (torch.arange(width // stride, device=device) + offset) * stride
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((xx, yy), -1).reshape(-1, 2))
        strides.append(torch.full((points[-1].shape[0], 1), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)


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
    logits: Tensor, boxes: Tensor, points: Tensor, truth: Tensor, ignore: Tensor
) -> tuple[Tensor, Tensor]:
    """Score loss and box loss, both per unit of matched overlap; scalars.

    ``logits`` (B, N), ``boxes`` (B, N, 4), ``points`` (N, 2), ``truth`` (B, G, 4) and ``ignore``
    (B, K, 4) in pixels, empty boxes as filling. Points inside an ignored box that no person claims
    count neither as person nor as background.
    """
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
