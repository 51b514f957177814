import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgepose.train.alexnet import SIZE, AlexNet, PortableLRN


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def activations(scale: float) -> torch.Tensor:
    return scale * torch.randn(2, 96, 9, 9, generator=torch.Generator().manual_seed(0)).relu()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 4000.0])
def test_portable_lrn_is_lrn(scale):
    x = activations(scale)
    expected = F.local_response_norm(x.double(), 5, 1e-4, 0.75, 2.0)
    error = (PortableLRN(96).double()(x.double()) - expected).abs().max() / expected.abs().max()
    assert error < 1e-6  # its band matrix is float32


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 4000.0])
def test_in_float16_it_is_off_by_two_thousandths_at_most(scale):
    x = activations(scale).half()
    assert x.max() < 20_000
    expected = F.local_response_norm(x.double(), 5, 1e-4, 0.75, 2.0)
    found = PortableLRN(96).half()(x)
    assert torch.isfinite(found).all()
    error = (found.double() - expected).abs()
    assert (error <= 0.002 * expected.abs().clamp_min(1e-4)).all()


def test_the_paper_s_shapes_and_size():
    model = AlexNet("holistic", 14).eval()
    sides = []
    x = torch.zeros(1, 3, SIZE, SIZE)
    with torch.no_grad():
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, torch.nn.Conv2d):
                sides.append(tuple(x.shape[1:]))
    assert sides == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]
    count = sum(p.numel() for p in model.parameters())
    assert count == 58_396_060
    by_layer = [p.numel() for p in model.parameters()]
    assert sum(by_layer[:12]) == 41_500_032  # C and the first F: the paper's "about 40 M"


def test_later_stages_read_the_output_of_their_joint():
    torch.manual_seed(0)
    whole = AlexNet("holistic", 3, 92, 0.125).eval()
    chosen = AlexNet("refine", 3, 92, 0.125).eval()
    chosen.load_state_dict(whole.state_dict())
    crops = torch.randn(6, 3, 92, 92)
    with torch.no_grad():
        points, own = whole(crops), chosen(crops)
        asked = chosen(crops, torch.tensor([2, 2, 0, 1, 1, 0]))
    assert own.shape == (6, 2)
    for row, joint in enumerate([2, 2, 0, 1, 1, 0]):
        np.testing.assert_allclose(own[row], points[row, row % 3], atol=1e-6)
        np.testing.assert_allclose(asked[row], points[row, joint], atol=1e-6)


def test_a_later_stage_starts_from_the_first_but_for_its_last_layer():
    first, second = AlexNet("holistic", 3, 92, 0.125), AlexNet("refine", 3, 92, 0.125)
    last = second.head[-1].weight.clone()
    second.start_from(first.state_dict(), lambda: torch.empty(0))
    assert torch.equal(first.features[0].weight, second.features[0].weight)
    assert torch.equal(first.head[1].weight, second.head[1].weight)
    assert torch.equal(second.head[-1].weight, last)


@pytest.mark.parametrize("width", [0.125, 1.0])
def test_the_order_in_memory_changes_nothing_else(width):
    torch.manual_seed(0)
    model = AlexNet("refine", 3, 92, width, 0.0, 64)
    crops, joint = torch.randn(2, 3, 92, 92), torch.tensor([2, 0])
    ends = []
    for _ in range(2):
        output = model(crops, joint)
        model.zero_grad()
        output.square().sum().backward()
        ends.append([output.detach(), *(p.grad.clone() for p in model.parameters())])
        model.arrange()
        crops = crops.contiguous(memory_format=torch.channels_last)
    assert model.planar == (width == 1)
    for plain, arranged in zip(*ends, strict=True):
        assert float((plain - arranged).norm()) <= 1e-4 * float(plain.norm())
