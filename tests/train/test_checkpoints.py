"""The committed weights that a further training starts from fit the networks of the recipe."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgepose.backends import open_backend
from edgepose.bundle import Bundle
from edgepose.errors import TrainingError
from edgepose.skeleton import LSP14
from edgepose.train.checkpoints import averaged, load_checkpoint, save_checkpoint
from edgepose.train.detector import load_detector
from edgepose.train.heads import HEADS
from edgepose.train.loop import make_optimiser
from edgepose.train.recipe import OptimiserRecipe, load_recipe
from edgepose.train.zoo import build

FOLDER = Path(__file__).parents[2] / "checkpoints" / "edgepose-s"


def test_they_give_what_the_shipped_bundle_gives():
    bundle = Bundle()
    golden = np.load(bundle.path(bundle.manifest.golden.file))
    (recipe,) = load_recipe("edgepose-s").stages
    net = build(recipe, len(LSP14))
    net.load_state_dict(averaged(FOLDER / "stage1.safetensors"))
    with torch.no_grad():
        points = HEADS[recipe.kind, recipe.head].decode(
            net.eval()(torch.from_numpy(golden["input1"]).float())
        )[0]
    # The bundle's weights were rounded after folding, these before.
    assert np.median(np.abs(points.numpy() - golden["points1"])) < 2e-3


def test_the_detector_is_the_bundle_s():
    bundle, recipe = Bundle(), load_recipe("edgepose-s").detector
    assert bundle.manifest.detector.size == recipe.size
    model = load_detector(FOLDER / "detector.pt", recipe)
    inputs = np.random.default_rng(0).normal(0, 0.3, (1, 3, 96, 64)).astype(np.float32)
    boxes, scores = open_backend(threads=1).load(bundle, "detector")(inputs)
    with torch.no_grad():
        want = [out.numpy() for out in model(torch.from_numpy(inputs))]
    np.testing.assert_allclose(scores, want[1], atol=1e-4)
    np.testing.assert_allclose(boxes, want[0], atol=1e-2)


@pytest.mark.parametrize("name", ["adamw", "adagrad", "sgd"])
def test_an_optimiser_comes_back_as_it_was(tmp_path, name):
    """Channels last, as the networks are trained: its averages must keep the weights' order."""
    torch.manual_seed(0)
    recipe = OptimiserRecipe(name=name)
    inputs = torch.randn(2, 3, 8, 8)

    def make():
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return net, make_optimiser(net, recipe)

    def step(net, optimiser):
        optimiser.zero_grad()
        net(inputs).square().mean().backward()
        optimiser.step()

    first = make()
    step(*first)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, {"model": first[0].state_dict(), "optimiser": first[1].state_dict()})
    second, state = make(), load_checkpoint(path)
    for part, key in zip(second, state, strict=True):
        part.load_state_dict(state[key])
    step(*first)
    step(*second)
    assert torch.equal(first[0].weight, second[0].weight)


def test_an_old_checkpoint_is_found_and_read_and_the_new_one_wins(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    torch.save({"ema": {"w": torch.ones(2)}, "step": 7}, tmp_path / "checkpoint.pt")
    assert load_checkpoint(path)["step"] == 7
    assert torch.equal(averaged(path)["w"], torch.ones(2))
    save_checkpoint(path, {"step": 8})
    assert load_checkpoint(path) == {"step": 8}


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_no_code_of_a_checkpoint_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"ema": Evil()}, "evil.pt")
    # A pickle behind the new name is no better.
    torch.save({"ema": Evil()}, "evil.safetensors")
    for name in ("evil.pt", "evil.safetensors"):
        with pytest.raises(TrainingError, match="is damaged"):
            averaged(Path(name))
    assert not Path("ran").exists()


@pytest.mark.parametrize("tree", ["", "[", "[" * 10**5, '{"dict": 3}', '{"tensor": "9"}', "3"])
def test_a_hostile_tree_is_a_sentence(tmp_path, tree):
    from safetensors.torch import save_file

    path = tmp_path / "checkpoint.safetensors"
    save_file({"0": torch.ones(1)}, path, {"state": tree})
    with pytest.raises(TrainingError, match="is damaged"):
        load_checkpoint(path)
