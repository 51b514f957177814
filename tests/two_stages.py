"""A bundle of two real stages: the shipped stage 1, and a stage 2 of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgepose.bundle import Bundle
from edgepose.train.checkpoints import averaged
from edgepose.train.export import Calibrated, ExportedStage, StageExport, deployable, write_bundle
from edgepose.train.heads import HEADS
from edgepose.train.recipe import StageRecipe, load_recipe
from edgepose.train.zoo import build

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "edgepose-s" / "stage1.safetensors"
REFINE = StageRecipe(
    kind="refine", network="movenet", head="expected", sizes=[48], extent=1.0, batch=1, minutes=0
)


def write_two_stages(folder: Path) -> Bundle:
    """The bundle, written into ``folder``; stage 2 moves joints about, by some pixels."""
    shipped = Bundle()
    k = len(shipped.skeleton)
    first = load_recipe("edgepose-s").stages[0]
    alike = Calibrated(*np.stack([np.ones(k), np.zeros(k), np.zeros(k)]).astype(np.float32))
    torch.manual_seed(0)
    stages = []
    for recipe, rows in ((first, 1), (REFINE, k)):
        net = build(recipe, k).requires_grad_(False)
        if recipe is first:
            net.load_state_dict(averaged(CHECKPOINT))
        deployable(net)
        network = ExportedStage(net, HEADS[recipe.kind, recipe.head], alike).eval()
        size = recipe.sizes[-1]
        golden = np.random.default_rng(rows).normal(0, 0.5, (rows, 3, size, size))
        stages.append(StageExport(network, size, recipe.extent, golden.astype(np.float32)))
    write_bundle(
        folder,
        stages,
        name="two stages",
        version="0",
        skeleton=shipped.skeleton,
        pixels=shipped.manifest.pixels,
        detector=None,
        training={},
    )
    return Bundle(folder)
