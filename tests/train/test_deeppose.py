"""The paper's equations, each against its definition written out."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from edgepose.crop import crop
from edgepose.skeleton import LSP14, load_skeleton, shipped_skeletons
from edgepose.train.alexnet import AlexNet
from edgepose.train.augment import MEAN, STD, flip_crops
from edgepose.train.crops import HolisticCrops, RefineCrops
from edgepose.train.displacements import fit_displacements
from edgepose.train.examples import Example
from edgepose.train.heads import HEADS, LOSSES
from edgepose.train.recipe import Augment, StageRecipe, load_recipe

STILL = Augment(rotate=0.0, scale=0.0, shift=0.0, colour=0.0)


def people(count=1, seed=0):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (120, 100, 3), np.uint8)
    for _ in range(count):
        joints = rng.uniform(20, 80, (14, 2)).astype(np.float32)
        labelled = rng.random(14) < 0.8
        labelled[[2, 9]] = True
        joints[~labelled] = 0
        yield Example(picture, joints, labelled, np.array([10, 10, 90, 110], np.float32), 0.5)


def refine_recipe(**changes):
    given = {
        "sizes": [32],
        "extent": 2.0,
        "batch": 4,
        "minutes": 1.0,
        "crops": 14,
        "augment": STILL,
    }
    return StageRecipe("refine", "alexnet", head="regression", **(given | changes))


@pytest.mark.parametrize("loss", ["l2", "smooth-l1"])
def test_gradients_of_the_loss_are_those_of_finite_differences(loss):
    torch.manual_seed(0)
    output = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    batch = {"target": torch.randn(3, 4, 2).double(), "labelled": (torch.rand(3, 4) > 0.3).double()}
    head = HEADS["holistic", "regression"]

    def value(y):
        return head.terms(y, batch, LOSSES[loss], lambda x: x)["loss"]

    assert torch.autograd.gradcheck(value, output)
    if loss == "l2":
        y, t, m = (x.detach().numpy() for x in (output, batch["target"], batch["labelled"]))
        by_hand = sum(
            m[n, i] * ((y[n, i] - t[n, i]) ** 2).sum() for n in range(3) for i in range(4)
        )
        assert float(value(output).detach()) == pytest.approx(by_hand / 3)


def test_a_joint_without_label_does_not_count():
    output = torch.zeros(1, 2, 2, requires_grad=True)
    batch = {"target": torch.ones(1, 2, 2), "labelled": torch.tensor([[1.0, 0.0]])}
    HEADS["holistic", "regression"].terms(output, batch, LOSSES["l2"], lambda x: x)[
        "loss"
    ].backward()
    assert output.grad[0, 0].abs().min() > 0
    assert output.grad[0, 1].abs().max() == 0


def test_the_planted_normal_is_found_again():
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 100, (14, 2)).astype(np.float32)
    joints[9], joints[2] = (20, 20), (60, 50)  # the paper's diagonal is 50 long
    joints[8], joints[3] = (50, 20), (30, 50)
    one = Example(np.zeros((1, 1, 3), np.uint8), joints, np.ones(14, bool), joints[0], 1.0)
    mean = rng.normal(0, 0.05, (14, 2))
    root = rng.normal(0, 0.1, (14, 2, 2))
    covariance = root @ root.transpose(0, 2, 1)
    noise = mean + np.einsum("kij,nkj->nki", root, rng.normal(size=(4000, 14, 2)))
    estimates = (joints + 100.0 * noise).astype(np.float32)[:, None]  # σ·diam is 100
    fitted = fit_displacements([one] * 4000, estimates, LSP14, 2.0)
    np.testing.assert_allclose(fitted.mean, mean, atol=0.01)
    np.testing.assert_allclose(fitted.covariance, covariance, atol=0.01)
    drawn = np.stack([fitted.draw(rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.02)
    for i in range(14):
        np.testing.assert_allclose(np.cov(drawn[:, i].T), covariance[i], atol=0.02)


@pytest.mark.parametrize("displacements", ["normal", "errors"])
def test_a_batch_of_a_later_stage_is_its_definition(displacements):
    """D_A^s: crops of side σ·diam(y) about y_i + δ, targets -δ over the side."""
    (example,) = people()
    estimate = example.joints + np.random.default_rng(1).normal(0, 4, (14, 2)).astype(np.float32)
    data = RefineCrops(
        [example], estimate[None, None], LSP14, refine_recipe(displacements=displacements), 32, 7
    )
    item = data[(0, 0)]
    rng = np.random.default_rng((7, 0, 0, 1))  # the draws in their order
    mirrored = rng.random() < 0.5
    rng.integers(1)
    pose = np.where(example.labelled[:, None], example.joints, estimate)
    if displacements == "errors":
        centres, whole = estimate, estimate
    else:
        whole = pose
    diam = max(np.linalg.norm(whole[9] - whole[2]), np.linalg.norm(whole[8] - whole[3]))
    side = 2.0 * max(diam, 0.2 * np.ptp(whole, axis=0).max())
    if displacements == "normal":
        delta = data.normal.draw(rng) * side
        centres = np.where(example.labelled[:, None], pose + delta, estimate)
    for row, joint in enumerate(item["joint"]):
        i = LSP14.flip[joint] if mirrored else joint
        x, y = centres[i]
        box = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        cut = crop(example.picture, np.array([box], np.float32), 32, mean=MEAN, std=STD)[0]
        target = (example.joints[i] - centres[i]) / side
        if mirrored:
            cut, target = cut[..., ::-1], target * [-1, 1]
        np.testing.assert_allclose(item["target"][row], target, atol=1e-4)
        np.testing.assert_allclose(item["crop"][row], cut, atol=0.02)
    assert set(item["joint"]) <= set(
        LSP14.flip[example.labelled.nonzero()[0]] if mirrored else example.labelled.nonzero()[0]
    )


def test_forty_crops_and_their_mirror_images_and_no_more():
    (example,) = people()
    recipe = load_recipe("deeppose-paper").stages[0]
    assert recipe.draws == 40
    data = HolisticCrops([example], LSP14, recipe, 24, seed=0)
    crops = [data[(draw, 0)]["crop"] for draw in range(80)]
    assert len({c.tobytes() for c in crops}) == 80
    for draw in range(0, 80, 14):
        np.testing.assert_array_equal(crops[draw], crops[draw + 1][..., ::-1])
        np.testing.assert_array_equal(crops[draw], data[(draw + 80, 0)]["crop"])


def test_half_of_every_pass_is_mirrored():
    """A pass that knew one side alone would be unlearnt in the first one of mirror images."""
    (example,) = people()
    recipe = load_recipe("deeppose-paper").stages[0]
    recipe = replace(recipe, augment=replace(recipe.augment, shift=0.0))
    data = HolisticCrops([example] * 20, LSP14, recipe, 24, seed=0)
    as_it_is = data[(0, 0)]["crop"]
    for draw in (0, 1, 79):
        plain = [np.array_equal(data[(draw, i)]["crop"], as_it_is) for i in range(20)]
        assert sum(plain) == 10


@pytest.mark.parametrize("name", shipped_skeletons())
def test_a_mirror_image_exchanges_the_joints_of_every_skeleton(name):
    skeleton = load_skeleton(name)
    k = len(skeleton)
    order = skeleton.flip
    np.testing.assert_array_equal(order[order], np.arange(k))
    for i, joint in enumerate(skeleton.joints):
        other = skeleton.joints[order[i]]
        if joint.startswith("left_"):
            assert other == joint.replace("left_", "right_")
        elif not joint.startswith("right_"):
            assert other == joint
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (k, 2)).astype(np.float32)
    crops, labelled = np.random.default_rng(1).random((1, 3, 8, 8)), np.arange(k) % 3 > 0
    mirrored, moved, known = flip_crops(crops, points, labelled, skeleton)
    np.testing.assert_array_equal(mirrored[0, 0, 0], crops[0, 0, 0, ::-1])
    for i in range(k):
        np.testing.assert_array_equal(moved[i], points[order[i]] * [-1, 1])
        assert known[i] == labelled[order[i]]
    again = flip_crops(mirrored, moved, known, skeleton)
    np.testing.assert_array_equal(again[1], points)


def test_the_recipe_is_the_paper_s():
    recipe = load_recipe("deeppose-paper")
    assert [s.kind for s in recipe.stages] == ["holistic", "refine", "refine"]
    for stage in recipe.stages:
        assert (stage.network, stage.head, stage.loss) == ("alexnet", "regression", "l2")
        assert stage.sizes == [220]
        assert stage.batch * stage.crops == 128
        assert (stage.optimiser.name, stage.optimiser.lr) == ("adagrad", 5e-4)
        assert stage.options["dropout"] == 0.6
        assert stage.draws == 40
    assert {s.extent for s in recipe.stages[1:]} == {2.0}
    assert {s.displacements for s in recipe.stages[1:]} == {"normal"}


def test_a_refining_network_is_trained_on_the_pair_of_its_joint():
    torch.manual_seed(0)
    model = AlexNet("refine", 14, 64, 0.05, 0.0)
    output = model(torch.randn(3, 3, 64, 64), torch.tensor([1, 1, 5]))
    assert output.shape == (3, 2)
    output.sum().backward()
    used = model.head[-1].weight.grad.abs().sum(1).reshape(14, 2).sum(1) > 0
    assert used.nonzero().flatten().tolist() == [1, 5]
