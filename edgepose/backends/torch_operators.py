"""ONNX operators in torch: those that stage networks and detectors are exported with.

An operator is made once for a node: from its attributes and from the inputs that are parameters (a
shape, axes, limits), which are plain numbers by then. What it gives is called with tensors alone,
so a call does nothing on the host but to queue kernels. Semantics: the ONNX operator set, 11 to 17.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgepose.backends.torch_images import IMAGES
from edgepose.backends.torch_operator import (
    DTYPES,
    Attributes,
    Maker,
    Operator,
    Parameters,
    axes_of,
)
from edgepose.backends.torch_shapes import SHAPES

# Inputs that say how, not what: they must be known before the call.
PARAMETERS = {
    "Clip": (1, 2),
    "Expand": (1,),
    "ReduceMean": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
}


def _plain(function: Operator) -> Maker:
    return lambda attributes, parameters: function


def _divide(a: Tensor, b: Tensor) -> Tensor:
    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


def _clip(attributes: Attributes, parameters: Parameters) -> Operator:
    low, high = parameters.get(1), parameters.get(2)
    return lambda x: x.clamp(low, high)


def _cast(attributes: Attributes, parameters: Parameters) -> Operator:
    dtype = DTYPES[attributes["to"]]
    return lambda x: x.to(dtype)


def _reduce(function: Callable[..., Tensor]) -> Maker:
    def make(attributes: Attributes, parameters: Parameters) -> Operator:
        axes, keep = axes_of(attributes, parameters), bool(attributes.get("keepdims", 1))
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return lambda x: x
        return lambda x: function(x, axes or list(range(x.ndim)), keep)

    return make


def _softmax(attributes: Attributes, parameters: Parameters) -> Operator:
    axis = attributes.get("axis", -1)
    return lambda x: torch.softmax(x, axis)


def _argmax(attributes: Attributes, parameters: Parameters) -> Operator:
    axis, keep = attributes.get("axis", 0), bool(attributes.get("keepdims", 1))
    return lambda x: torch.argmax(x, axis, keep)


def _gemm(attributes: Attributes, parameters: Parameters) -> Operator:
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    left, right = attributes.get("transA", 0), attributes.get("transB", 0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if left else a, b.T if right else b
        return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return run


def _mod(attributes: Attributes, parameters: Parameters) -> Operator:
    return torch.fmod if attributes.get("fmod", 0) else torch.remainder


def _hard_sigmoid(attributes: Attributes, parameters: Parameters) -> Operator:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: (alpha * x + beta).clamp(0, 1)


OPERATORS: dict[str, Maker] = {
    **IMAGES,
    **SHAPES,
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "ArgMax": _argmax,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _plain(_divide),
    "Equal": _plain(torch.eq),
    "Exp": _plain(torch.exp),
    "Expand": lambda _, p: lambda x: x * torch.ones(p[1], dtype=x.dtype, device=x.device),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "Greater": _plain(torch.gt),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _plain(lambda x: x),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "MatMul": _plain(torch.matmul),
    "Mod": _mod,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Pow": _plain(torch.pow),
    "Range": _plain(lambda a, b, c: torch.arange(a.item(), b.item(), c.item())),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _plain(torch.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": _softmax,
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Tile": lambda _, p: lambda x: x.repeat(*p[1]),
    "Where": _plain(torch.where),
}
