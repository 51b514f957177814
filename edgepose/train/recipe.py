"""Training recipes: TOML files that say which networks to train, on what mix, for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgepose.errors import DataError
from edgepose.train.data import Augment

Network = Literal["lite0", "movenet"]
_FOLDER = Path(__file__).parent / "recipes"


class StageOneRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stage 1: input sides in pixels, coarse to fine, the last one ships; crop margin.

    ``network``: "lite0" (EfficientNet-Lite0, from ImageNet) or "movenet" (from MoveNet's file).
    ``slow``: share of the rate at which layers learn that start trained.
    """

    sizes: list[int]
    margin: float
    batch: int
    minutes: float
    lr: float
    network: Network = "lite0"
    slow: float = 1.0
    weight_decay: float = 0.05
    ema: float = 0.998
    augment: Augment = Augment()


class RefineRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A later stage: input side (pixels), σ (torso diameters), network, crops per person.

    ``channels``: width of the way up to stride 4 in the network "lite0".
    """

    size: int
    sigma: float
    crops: int
    batch: int
    minutes: float
    lr: float
    channels: int = 48
    network: Network = "lite0"
    slow: float = 1.0
    weight_decay: float = 0.05
    ema: float = 0.998
    augment: Augment = Augment()


class DetectorRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The person detector."""

    minutes: float
    lr: float


class TrainingRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole bundle."""

    name: str
    version: str
    stage1: StageOneRecipe
    refine: list[RefineRecipe]
    detector: DetectorRecipe
    mix: dict[str, float] = {}


def load_recipe(name: str) -> TrainingRecipe:
    """Read a recipe that ships, by name, or a TOML file, by path; DataError if it is not one."""
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    try:
        return msgspec.toml.decode(path.read_bytes(), type=TrainingRecipe)
    except OSError as error:
        shipped = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.toml")))
        raise DataError(
            f"no recipe {name!r}; shipped are {shipped}, or give the path of a .toml file"
        ) from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a valid recipe: {error}") from error
