"""The stage networks that a recipe can name; another one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgepose.errors import DataError
from edgepose.train.alexnet import AlexNet
from edgepose.train.movenet import MoveNetStageOne
from edgepose.train.movenet_refine import MoveNetRefine
from edgepose.train.networks import JointMapNet, PersonMapNet
from edgepose.train.recipe import Kind, StageRecipe
from edgepose.train.stage_net import StageNet

# network, kind, head: what makes it, from the number of joints, the input's side and the options.
NETWORKS: dict[tuple[str, Kind, str], Callable[..., StageNet]] = {
    ("lite0", "holistic", "map"): lambda joints, _, **more: PersonMapNet(joints, **more),
    ("lite0", "refine", "map"): JointMapNet,
    ("movenet", "holistic", "fine-map"): lambda joints, _, **more: MoveNetStageOne(joints, **more),
    ("movenet", "refine", "expected"): MoveNetRefine,
    ("alexnet", "holistic", "regression"): lambda *a, **more: AlexNet("holistic", *a, **more),
    ("alexnet", "refine", "regression"): lambda *a, **more: AlexNet("refine", *a, **more),
}


def build(recipe: StageRecipe, joints: int) -> StageNet:
    """The network of a stage, untrained; DataError if there is none such."""
    key = (recipe.network, recipe.kind, recipe.head)
    if key not in NETWORKS:
        known = "; ".join(" ".join(row) for row in NETWORKS)
        raise DataError(
            f"no network {' '.join(key)!r} for a stage; a recipe can name (network, kind, head): "
            f"{known}"
        )
    options: dict[str, Any] = recipe.options
    try:
        return NETWORKS[key](joints, recipe.sizes[-1], **options)
    except TypeError as error:
        raise DataError(f"options of network {recipe.network}: {error}") from error
