"""Training recipes: TOML files that say which networks to train, on what mix, for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgepose.errors import DataError

_FOLDER = Path(__file__).parent / "recipes"

Kind = Literal["holistic", "refine"]


class OptimiserRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How weights move.

    ``lr`` is reached after ``warmup`` steps and falls to zero by a cosine, or stays ("constant").
    ``clip``: largest gradient norm, 0 for none. ``ema``: decay of the weights' moving average,
    which ships; 0 ships the weights themselves. ``slow``: share of the rate at which layers learn
    that start trained (the network says which).
    """

    name: Literal["adamw", "adagrad", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 200
    clip: float = 5.0
    ema: float = 0.998
    slow: float = 1.0


class Augment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Strength of the augmentation.

    ``rotate``: degrees, one sigma; ``any_rotation``: share drawn from the whole circle. ``scale``:
    of the log side; ``shift``: share of the box; both one sigma. ``colour``: 1 is the usual jitter.
    Shares of the crops: ``erase`` with parts covered, ``neighbour`` with somebody put beside,
    ``cut`` off as by the frame, ``detected`` cut about the detector's box.
    """

    rotate: float = 22.0
    any_rotation: float = 0.1
    scale: float = 0.25
    shift: float = 0.07
    flip: bool = True
    colour: float = 1.0
    erase: float = 0.0
    neighbour: float = 0.0
    cut: float = 0.0
    detected: float = 0.0


class StageRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of the cascade.

    ``kind``: "holistic" sees the whole person (stage 1), "refine" one joint's crop. ``network``
    with its ``options``: see :mod:`edgepose.train.zoo`; ``head``: "map", "fine-map" (at stride 4),
    "expected" (a map read by its expectation) or "regression". ``sizes``: input sides in pixels,
    coarse to fine in equal shares of the time; the last one ships. ``extent``: the crop's side, in
    longer sides of the person's box, or σ in torso diameters. ``batch`` persons a step over all
    processes, ``crops`` joints of each. ``loss`` is that of the coordinates.

    ``draws``: how many crops of a person there are, each also mirrored (0: every one is new).
    Of a refine stage: ``displacements`` from the "normal" fitted to the earlier stages' errors, the
    "errors" themselves, or "mixed"; ``estimates`` per person, on boxes that ``jitter`` moves;
    ``start``: the stage whose weights it starts from, 0 for none.
    """

    kind: Kind
    network: str
    sizes: list[int]
    extent: float
    batch: int
    minutes: float
    head: Literal["map", "fine-map", "expected", "regression"] = "map"
    options: dict[str, int | float] = {}
    crops: int = 1
    loss: Literal["smooth-l1", "l2"] = "smooth-l1"
    optimiser: OptimiserRecipe = OptimiserRecipe()
    augment: Augment = Augment()
    draws: int = 0
    displacements: Literal["mixed", "normal", "errors"] = "mixed"
    estimates: int = 2
    jitter: float = 0.1
    start: int = 0


class DetectorRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The person detector.

    ``network``: "nano" (RTMDet-nano) or "lite0" (EfficientNet-Lite0). ``size``: height and width of
    a landscape frame's input, multiples of 32; a portrait frame's is exchanged. ``composed``: share
    of the batches that are canvases composed of crops around persons. ``keep``: share of the
    starting weights in the mean that ships (Wortsman et al. 2022): what a short training forgets.
    """

    minutes: float
    network: Literal["nano", "lite0"] = "nano"
    size: tuple[int, int] = (224, 320)
    batch: int = 8
    composed: float = 0.08
    keep: float = 0.0
    optimiser: OptimiserRecipe = OptimiserRecipe()


class TrainingRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole bundle.

    ``skeleton``: a name or a TOML file; None takes that of the data. ``boxes``: b⁰ is the person's
    box or the full picture. ``mix``: how often a set is seen per epoch. ``scores``: how much a
    set counts when the scores are calibrated, in roots of the number of its persons.
    """

    name: str
    version: str
    stages: list[StageRecipe] = msgspec.field(name="stage")
    detector: DetectorRecipe | None = None
    mix: dict[str, float] = {}
    scores: dict[str, float] = {}
    skeleton: str | None = None
    boxes: Literal["person", "full"] = "person"

    def parts(self) -> list[str]:
        """What can be trained, in order."""
        stages = [str(number) for number in range(1, len(self.stages) + 1)]
        return stages + (["detector"] if self.detector is not None else [])


def load_recipe(name: str) -> TrainingRecipe:
    """Read a recipe that ships, by name, or a TOML file, by path; DataError if it is not one."""
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=TrainingRecipe)
    except OSError as error:
        shipped = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.toml")))
        raise DataError(
            f"no recipe {name!r}; shipped are {shipped}, or give the path of a .toml file"
        ) from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a valid recipe: {error}") from error
    kinds = [stage.kind for stage in recipe.stages]
    if kinds != (["holistic"] + ["refine"] * len(kinds))[: len(kinds)] or not kinds:
        raise DataError(
            f"{path} is not a valid recipe: its first stage must be holistic, the others refine"
        )
    return recipe
