"""What an ONNX operator is in torch: made once for a node, called with tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

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


def axes_of(attributes: Attributes, parameters: Parameters) -> list[int] | None:
    """The axes of a node: an input since opset 13, before that an attribute; None: all."""
    found = parameters.get(1, attributes.get("axes"))
    return found if found is None or isinstance(found, list) else [found]
