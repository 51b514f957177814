"""Layers made narrower by what they see: which channels to keep, and the rest refitted."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def thin(inner: Tensor, wide: nn.Conv2d, narrow: nn.Conv2d) -> Tensor:
    """Fit the 1x1 convolution ``narrow`` to do with fewer channels what ``wide`` does with all.

    ``inner`` (N, C, H, W) is what ``wide`` reads. Channels are dropped by how much they add to the
    output, a few at a time, the rest refitted by ridge regression. Gives the kept ones, sorted.
    """
    values = inner.permute(0, 2, 3, 1).reshape(-1, inner.shape[1])
    values = values[:: max(1, len(values) // 10_000)].double()
    weight = wide.weight[:, :, 0, 0].double()
    mean = values.mean(0)
    covariance = (values - mean).T @ (values - mean) / len(values)
    shared = covariance @ weight.T
    spread = covariance.diagonal().sqrt()
    kept = torch.arange(len(mean))
    while True:
        square = covariance[kept][:, kept]
        square = square + 1e-3 * square.diagonal().mean() * torch.eye(len(kept))
        fitted = torch.linalg.solve(square, shared[kept])
        surplus = len(kept) - narrow.in_channels
        if surplus <= 0:
            break
        worth = fitted.norm(dim=1) * spread[kept]
        kept = kept[worth.argsort()[min(surplus, max(1, len(kept) // 8)) :]].sort().values
    narrow.weight.copy_(fitted.T[:, :, None, None])
    if narrow.bias is not None and wide.bias is not None:
        narrow.bias.copy_(wide.bias + weight @ mean - fitted.T @ mean[kept])
    return kept


def copy_channels(source: nn.Conv2d, target: nn.Conv2d, kept: Tensor) -> None:
    """Copy the output channels ``kept`` of ``source`` (depthwise: the channels) to ``target``."""
    target.weight.copy_(source.weight[kept])
    if target.bias is not None and source.bias is not None:
        target.bias.copy_(source.bias[kept])
