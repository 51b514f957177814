"""The committed weights that a further training starts from fit the networks of the recipe."""

from pathlib import Path

import numpy as np
import torch

from edgepose.backends import open_backend
from edgepose.bundle import Bundle
from edgepose.skeleton import LSP14
from edgepose.train.checkpoints import averaged
from edgepose.train.detector import load_detector
from edgepose.train.heads import HEADS
from edgepose.train.recipe import load_recipe
from edgepose.train.zoo import build

FOLDER = Path(__file__).parents[2] / "checkpoints" / "edgepose-s"


def test_they_give_what_the_shipped_bundle_gives():
    bundle = Bundle()
    golden = np.load(bundle.path(bundle.manifest.golden.file))
    recipe = load_recipe("edgepose-s")
    heads = [HEADS[stage.kind, stage.head] for stage in recipe.stages]
    one, two = (build(stage, len(LSP14)) for stage in recipe.stages)
    one.load_state_dict(averaged(FOLDER / "stage1.pt"))
    two.load_state_dict(averaged(FOLDER / "stage2.pt"))
    with torch.no_grad():
        points = heads[0].decode(one.eval()(torch.from_numpy(golden["input1"]).float()))[0]
        moved = heads[1].decode(two.eval()(torch.from_numpy(golden["input2"]).float()))[0]
    # The bundle's weights were rounded after folding, these before.
    assert np.median(np.abs(points.numpy() - golden["points1"])) < 2e-3
    assert np.median(np.abs(moved.numpy() - golden["points2"])) < 5e-3


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
