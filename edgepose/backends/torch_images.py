"""ONNX operators on pictures in torch: convolutions, pools, resizing."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from edgepose.backends.torch_operator import (
    Attributes,
    Maker,
    Operator,
    Parameters,
)
from edgepose.errors import BackendError


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


IMAGES: dict[str, Maker] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
