import numpy as np
import pytest
import torch

from edgepose.train.heads import displacement, local_soft_argmax, map_target, soft_argmax
from edgepose.train.networks import JointMapNet, PersonMapNet


def bump(x: float, y: float, height: int = 16, width: int = 16) -> torch.Tensor:
    """Logits (1, 1, h, w) of a Gaussian about a normalised position."""
    return map_target(torch.tensor([[[x, y]]]), height, width).log().reshape(1, 1, height, width)


@pytest.mark.parametrize("x", [-0.31, 0.0, 0.17])
@pytest.mark.parametrize("y", [-0.2, 0.05, 0.33])
def test_both_soft_argmaxes_find_a_gaussian(x, y):
    logits = bump(x, y, 16, 12)
    points, mass = local_soft_argmax(logits)
    assert torch.allclose(points[0, 0], torch.tensor([x, y]), atol=2e-3)
    assert 0.95 < float(mass) <= 1
    assert torch.allclose(soft_argmax(logits)[0, 0], torch.tensor([x, y]), atol=1e-3)


def test_local_soft_argmax_ignores_a_far_second_peak():
    logits = torch.logaddexp(bump(-0.3, -0.3), bump(0.3, 0.3) - 0.5)
    points, mass = local_soft_argmax(logits)
    assert torch.allclose(points[0, 0], torch.tensor([-0.3, -0.3]), atol=2e-3)
    assert 0.5 < float(mass) < 0.7
    assert float((soft_argmax(logits)[0, 0] + 0.3).abs().max()) > 0.1


def test_map_target_is_a_distribution_about_the_target():
    goal = map_target(torch.tensor([[[0.1, -0.2], [0.4, 0.4]]]), 16, 16)
    assert goal.shape == (1, 2, 256)
    assert torch.allclose(goal.sum(-1), torch.ones(1, 2))


def test_a_joint_said_to_be_outside_stays():
    logits = torch.cat((bump(0.2, 0.1).reshape(1, -1), torch.tensor([[-9.0]])), 1)
    moved, mass = displacement(logits)
    assert torch.allclose(moved[0], torch.tensor([0.2, 0.1]), atol=2e-3)
    assert float(mass) > 0.9
    logits[0, -1] = 9.0
    moved, mass = displacement(logits)
    assert moved.tolist() == [[0.0, 0.0]]
    assert float(mass) < 0.01


def test_stage_one_starts_from_imagenet_and_freezes_its_front():
    model = PersonMapNet(14)
    model.backbone.load_imagenet()
    model.train()
    assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 14, 12, 12)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(
        name.startswith(("backbone.stem", "backbone.groups.0", "backbone.groups.1"))
        for name in frozen
    )
    assert float(model.backbone.stem[0].weight.abs().sum()) > 1
    assert not model.backbone.stem[1].training
    assert model.backbone.groups[3].training


def test_refine_net_takes_whole_persons_or_named_joints():
    torch.manual_seed(0)
    model = JointMapNet(14, 64, 16).eval()
    torch.nn.init.normal_(model.scale)
    torch.nn.init.normal_(model.prior)
    crops = torch.randn(28, 3, 64, 64)
    with torch.no_grad():
        whole = model(crops)
        named = model(crops, torch.arange(14).repeat(2))
        some = model(crops[[3, 17]], torch.tensor([3, 3]))
    assert whole.shape == (28, 257)
    assert torch.allclose(whole, named, atol=1e-5)
    assert np.allclose(whole[[3, 17]], some, atol=1e-4)
