"""Depthwise convolution in bfloat16 on CPUs, with a weight gradient that is not ten times too slow.

oneDNN, below torch, is quick with the forward pass in bfloat16, but takes 10 to 40 times longer for
the weights' gradient of a 5x5 kernel, and for the input's gradient with stride 2. The weights'
gradient of a 3x3 kernel it does well, and a 5x5 one is four of these, one for each corner of the
kernel; the input's gradient with stride 2 is quick in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve every channel of ``x`` (N, C, H, W) by its own ``weight`` (C, 1, k, k), k 3 or 5.

    Both of the same dtype; ``padding`` pixels of zeros on every side.
    """
    result: Tensor = _Depthwise.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    return result


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        (g,) = gradients
        g = g.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _input_gradient(g, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(g, x, weight, ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def _input_gradient(g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if stride == 1:
        return _backward(g, x, weight, stride, padding, of_weight=False)
    wide = g.float(), x.float(), weight.float()
    return _backward(*wide, stride, padding, of_weight=False).to(x.dtype)


def _weight_gradient(g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if weight.shape[-1] == 3:
        return _backward(g, x, weight, stride, padding, of_weight=True)
    x = F.pad(x, (padding,) * 4)
    height, width = ((side - 1) * stride + 3 for side in g.shape[-2:])
    corner = weight[:, :, :3, :3].contiguous()
    result = torch.empty_like(weight)
    for top in (0, 2):
        for left in (0, 2):
            seen = x[:, :, top : top + height, left : left + width]
            part = _backward(g, seen, corner, stride, 0, of_weight=True)
            result[:, :, top : top + 3, left : left + 3] = part
    return result


def _backward(
    g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, *, of_weight: bool
) -> Tensor:
    """One of the two gradients of a depthwise convolution, by torch's own operator."""
    result: Tensor = torch.ops.aten.convolution_backward(
        g,
        x,
        weight,
        None,
        [stride] * 2,
        [padding] * 2,
        [1, 1],
        False,
        [0, 0],
        len(weight),
        [not of_weight, of_weight, False],
    )[int(of_weight)]
    return result
