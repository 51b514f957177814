"""The networks that a recipe can name, made ready to train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from edgepose.errors import DataError
from edgepose.train.loop import load_checkpoint
from edgepose.train.movenet import MoveNetStageOne
from edgepose.train.movenet_refine import MoveNetRefine
from edgepose.train.networks import RefineNet, StageOne
from edgepose.train.recipe import RefineRecipe, StageOneRecipe

Crops = Callable[[], Tensor]  # gives crops (N, 3, S, S) of training persons


def stage_one(recipe: StageOneRecipe, joints: int) -> StageOne | MoveNetStageOne:
    """The recipe's network of stage 1, with random weights."""
    return MoveNetStageOne(joints) if recipe.network == "movenet" else StageOne(joints)


def later_stage(recipe: RefineRecipe, joints: int) -> RefineNet | MoveNetRefine:
    """The recipe's network of a later stage, with random weights."""
    if recipe.network == "movenet":
        return MoveNetRefine(joints, recipe.size)
    return RefineNet(joints, recipe.size, recipe.channels)


def start_stage_one(
    recipe: StageOneRecipe, joints: int, init: Path | None, crops: Crops
) -> nn.Module:
    """Stage 1 with the weights that it starts from.

    ``init`` is a checkpoint or, for "movenet", MoveNet's ONNX file. Without one "lite0" starts from
    ImageNet; DataError for "movenet", which has nothing else to start from.
    """
    model = stage_one(recipe, joints)
    given_onnx = init is not None and init.suffix == ".onnx"
    if isinstance(model, StageOne):
        if given_onnx:
            raise DataError(
                f"{init} cannot start the network 'lite0' of this recipe; "
                "choose a recipe with the network 'movenet'"
            )
        model.backbone.load_imagenet()
    elif init is None:
        raise DataError(
            "the network 'movenet' starts from weights that you name: --init FILE, MoveNet "
            "Lightning's ONNX file or a checkpoint; or choose --recipe edgepose-lite0"
        )
    elif given_onnx:
        model.start_from(init, crops())
    if init is not None and not given_onnx:
        model.load_state_dict(load_checkpoint(init)["ema"])
    return model


def start_later_stage(
    recipe: RefineRecipe, joints: int, stage_one_state: dict[str, Tensor], crops: Crops
) -> nn.Module:
    """A later stage that starts from what a trained stage 1 already knows."""
    model = later_stage(recipe, joints)
    model.start_from(stage_one_state, crops)
    return model
