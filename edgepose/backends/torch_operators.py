"""ONNX operators in torch: those that stage networks and detectors are exported with.

An operator is made once for a node: from its attributes and from the inputs that are parameters (a
shape, axes, limits), which are plain numbers by then. What it gives is called with tensors alone,
so a call does nothing on the host but to queue kernels. Semantics: the ONNX operator set, 11 to 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose.errors import BackendError

Attributes = Mapping[str, Any]
Parameters = Mapping[int, Any]  # by the input's number: a number, or a list of them
Operator = Callable[..., Tensor]
Maker = Callable[[Attributes, Parameters], Operator]

# By ONNX's numbers of element types.
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}

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


def _conv(attributes: Attributes, parameters: Parameters) -> Operator:
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    top, left, bottom, right = _pads(attributes)
    groups, even = attributes.get("group", 1), (top, left) == (bottom, right)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not even:
            x = F.pad(x, (left, right, top, bottom))
        padding = (top, left) if even else (0, 0)
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    return run


def _average_pool(attributes: Attributes, parameters: Parameters) -> Operator:
    kernel, stride, pads = _pool(attributes)
    padded = bool(attributes.get("count_include_pad", 0))
    return lambda x: F.avg_pool2d(x, kernel, stride, pads, count_include_pad=padded)


def _max_pool(attributes: Attributes, parameters: Parameters) -> Operator:
    kernel, stride, pads = _pool(attributes)
    return lambda x: F.max_pool2d(x, kernel, stride, pads)


def _pool(attributes: Attributes) -> tuple[list[int], list[int], tuple[int, int]]:
    """Kernel, stride and pads (top, left)."""
    top, left, bottom, right = _pads(attributes)
    if (top, left) != (bottom, right) or attributes.get("ceil_mode", 0):
        raise BackendError("a pool with uneven pads or ceil_mode is not known to backend torch")
    return attributes["kernel_shape"], attributes.get("strides", [1, 1]), (top, left)


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise BackendError("auto_pad is not known to backend torch; export with explicit pads")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return top, left, bottom, right


def _clip(attributes: Attributes, parameters: Parameters) -> Operator:
    low, high = parameters.get(1), parameters.get(2)
    return lambda x: x.clamp(low, high)


def _cast(attributes: Attributes, parameters: Parameters) -> Operator:
    dtype = DTYPES[attributes["to"]]
    return lambda x: x.to(dtype)


def _axes(attributes: Attributes, parameters: Parameters) -> list[int] | None:
    found = parameters.get(1, attributes.get("axes"))
    return found if found is None or isinstance(found, list) else [found]


def _reduce(function: Callable[..., Tensor]) -> Maker:
    def make(attributes: Attributes, parameters: Parameters) -> Operator:
        axes, keep = _axes(attributes, parameters), bool(attributes.get("keepdims", 1))
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return lambda x: x
        return lambda x: function(x, axes or list(range(x.ndim)), keep)

    return make


def _unsqueeze(attributes: Attributes, parameters: Parameters) -> Operator:
    axes = _axes(attributes, parameters) or []

    def run(x: Tensor) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _squeeze(attributes: Attributes, parameters: Parameters) -> Operator:
    axes = _axes(attributes, parameters)
    return lambda x: x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _reshape(attributes: Attributes, parameters: Parameters) -> Operator:
    shape, zero = parameters[1], attributes.get("allowzero", 0)

    def run(x: Tensor) -> Tensor:
        sides = [x.shape[i] if n == 0 and not zero else n for i, n in enumerate(shape)]
        return x.reshape(sides)

    return run


def _slice(attributes: Attributes, parameters: Parameters) -> Operator:
    starts, ends = parameters[1], parameters[2]
    axes = parameters.get(3) or list(range(len(starts)))
    steps = parameters.get(4) or [1] * len(starts)
    if any(step < 1 for step in steps):
        raise BackendError("Slice with a negative step is not known to backend torch")

    def run(x: Tensor) -> Tensor:
        places = [slice(None)] * x.ndim
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            places[axis] = slice(start, end, step)
        return x[tuple(places)]

    return run


def _gather(attributes: Attributes, parameters: Parameters) -> Operator:
    axis = attributes.get("axis", 0)

    def run(x: Tensor, index: Tensor) -> Tensor:
        at = axis % x.ndim
        flat = index.reshape(-1)
        flat = torch.where(flat < 0, flat + x.shape[at], flat)
        shape = (*x.shape[:at], *index.shape, *x.shape[at + 1 :])
        return x.index_select(at, flat).reshape(shape)

    return run


# What torch's interpolation is the same as: mode, coordinates, and rounding where it matters.
_NEAREST = (b"nearest", b"asymmetric", b"floor")
_LINEAR = (b"linear", b"half_pixel")


def _resize(attributes: Attributes, parameters: Parameters) -> Operator:
    how = (
        attributes.get("mode", b"nearest"),
        attributes.get("coordinate_transformation_mode", b"half_pixel"),
        attributes.get("nearest_mode", b"round_prefer_floor"),
    )
    if how != _NEAREST and how[:2] != _LINEAR:
        raise BackendError(
            "Resize other than nearest, asymmetric, floor or linear, half_pixel is not known to "
            "backend torch"
        )
    more = {"mode": "nearest"} if how == _NEAREST else {"mode": "bilinear", "align_corners": False}
    sizes, scales = parameters.get(3), parameters.get(2)
    if sizes:
        return lambda x: F.interpolate(x, size=sizes[2:], **more)
    if scales is None:
        raise BackendError("Resize without sizes and scales is not ONNX; export the network again")
    # Through the size: a scale of its own would be rounded another way.
    return lambda x: F.interpolate(
        x,
        size=[math.floor(n * f) for n, f in zip(x.shape[2:], scales[2:], strict=True)],
        **more,
    )


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


def _constant_of_shape(attributes: Attributes, parameters: Parameters) -> Operator:
    from onnx import numpy_helper

    value = attributes.get("value")
    filling = torch.zeros(1) if value is None else torch.tensor(numpy_helper.to_array(value))
    return lambda shape: filling.expand(*shape.tolist()).clone()


def _concat(attributes: Attributes, parameters: Parameters) -> Operator:
    axis = attributes["axis"]
    return lambda *tensors: torch.cat(tensors, axis)


def _transpose(attributes: Attributes, parameters: Parameters) -> Operator:
    order: Sequence[int] = attributes["perm"]
    return lambda x: x.permute(*order)


def _flatten(attributes: Attributes, parameters: Parameters) -> Operator:
    axis = attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


OPERATORS: dict[str, Maker] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "ArgMax": _argmax,
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _plain(_divide),
    "Equal": _plain(torch.eq),
    "Exp": _plain(torch.exp),
    "Expand": lambda _, p: lambda x: x * torch.ones(p[1], dtype=x.dtype, device=x.device),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "Greater": _plain(torch.gt),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _plain(lambda x: x),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mod": _mod,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Pow": _plain(torch.pow),
    "Range": _plain(lambda a, b, c: torch.arange(a.item(), b.item(), c.item())),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Tile": lambda _, p: lambda x: x.repeat(*p[1]),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
