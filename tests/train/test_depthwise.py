"""The depthwise convolution of training against torch's own, forward and both gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from edgepose.train.depthwise import depthwise
from edgepose.train.networks import SameConv


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 2), (3, 2, 0), (5, 2, 0)]
)
def test_gradients_are_those_of_conv2d(kernel, stride, padding, dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 32, 11, 9).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(32, 1, kernel, kernel)
    exact = [t.clone().requires_grad_() for t in (x, weight)]
    expected = F.conv2d(*exact, None, stride, padding, 1, 32)
    g = torch.randn_like(expected)
    expected.backward(g)
    own = [t.to(dtype).requires_grad_() for t in (x, weight)]
    y = depthwise(*own, stride, padding)
    y.backward(g.to(dtype))
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    for got, want in ((y, expected), (own[0].grad, exact[0].grad), (own[1].grad, exact[1].grad)):
        assert got.dtype == dtype
        assert (got.float() - want).norm() < tolerance * want.norm()


def test_autocast_takes_it_and_plain_float32_does_not(monkeypatch):
    calls = []

    def spy(*arguments):
        calls.append(arguments)
        return depthwise(*arguments)

    monkeypatch.setattr("edgepose.train.networks.depthwise", spy)
    layer, x = SameConv(16, 16, 5, 2, groups=16, bias=False), torch.randn(2, 16, 12, 12)
    plain = layer(x)
    assert not calls
    with torch.autocast("cpu", torch.bfloat16):
        quick = layer(x)
    assert len(calls) == 1
    assert quick.dtype == torch.bfloat16
    assert (quick.float() - plain).norm() < 0.02 * plain.norm()
