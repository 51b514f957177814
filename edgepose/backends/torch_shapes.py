"""ONNX operators on shapes in torch: what moves and chooses elements, and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from edgepose.backends.torch_operator import (
    Attributes,
    Maker,
    Operator,
    Parameters,
    axes_of,
)
from edgepose.errors import BackendError


def _unsqueeze(attributes: Attributes, parameters: Parameters) -> Operator:
    axes = axes_of(attributes, parameters) or []

    def run(x: Tensor) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _squeeze(attributes: Attributes, parameters: Parameters) -> Operator:
    axes = axes_of(attributes, parameters)
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


SHAPES: dict[str, Maker] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
