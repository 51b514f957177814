"""Training a bundle, part by part: each stage on the errors of the shipped form of those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from edgepose.backends import open_backend
from edgepose.bundle import Bundle
from edgepose.cascade.host import HostCascade
from edgepose.data.records import load_records, set_skeleton
from edgepose.data.scenes import holds_scenes
from edgepose.errors import DataError
from edgepose.geometry import boxes_around, centre_and_size
from edgepose.skeleton import Skeleton, load_skeleton
from edgepose.train.checkpoints import SUFFIX
from edgepose.train.detector_nano import is_rtmdet
from edgepose.train.distributed import Processes
from edgepose.train.examples import Example, load_examples
from edgepose.train.loop import Plan, Precision
from edgepose.train.recipe import OptimiserRecipe, TrainingRecipe
from edgepose.train.stages import train_stage
from edgepose.train.zoo import build
from edgepose.types import Float


@dataclass
class Run:
    """One training run: recipe, annotation files, folder, and what overrides the recipe.

    ``minutes`` replaces the recipe's time per part (0: the recipe's); ``steps`` bounds the steps.
    """

    recipe: TrainingRecipe
    data: Sequence[Path]
    out: Path
    minutes: float = 0.0
    steps: int = 10**6
    seed: int = 0
    threads: int = 1
    init: Path | None = None
    precision: Precision = "float32"
    skeleton_name: str | None = None
    events: bool = False
    processes: Processes = field(default_factory=Processes)

    @property
    def bundle(self) -> Path:
        """Folder of the bundle so far."""
        return self.out / "bundle"

    @cached_property
    def skeleton(self) -> Skeleton:
        """The user's, else the recipe's, else that of the first set."""
        name = self.skeleton_name or self.recipe.skeleton
        return load_skeleton(name) if name else set_skeleton((self.persons or self.data)[0])

    @property
    def persons(self) -> list[Path]:
        """The files of ``data`` that hold persons with joints; the others hold whole scenes."""
        return [path for path in self.data if not holds_scenes(path)]

    def start(self, part: str) -> Path | None:
        """What ``part`` starts from: the file ``init``, or this part's in the folder ``init``.

        An ONNX file starts one part alone: RTMDet's the detector, MoveNet's stage 1.
        """
        if self.init is None or not self.init.is_dir():
            if self.init is None or self.init.suffix != ".onnx":
                return self.init
            return self.init if part == ("detector" if is_rtmdet(self.init) else "stage1") else None
        return self.init / f"{part}{SUFFIX}"

    def checkpoint(self, stage: int) -> Path:
        """Where stage ``stage`` keeps its state."""
        return self.out / f"stage{stage}" / f"checkpoint{SUFFIX}"

    def plan(self, minutes: float, optimiser: OptimiserRecipe) -> Plan:
        """Schedule of one part."""
        return Plan(
            steps=self.steps,
            minutes=self.minutes or minutes,
            optimiser=optimiser,
            precision=self.precision,
            seed=self.seed,
            events=self.events,
            processes=self.processes,
        )

    def training_set(self) -> tuple[list[Example], list[int]]:
        """All sets by the recipe's mix: the persons, and how often each is seen per epoch."""
        examples: list[Example] = []
        repeats: list[int] = []
        for path in self.persons:
            times = self.recipe.mix.get(path.stem, 1.0)
            part = self._load(path, "train", min(times, 1.0))
            examples += part
            repeats += [max(1, round(times))] * len(part)
        if not examples:
            raise DataError("the data hold no person with a labelled joint to train on")
        return examples, repeats

    def held_out(self) -> dict[str, list[Example]]:
        """Persons of split "val", by set; sets without one are left out."""
        found = {}
        for path in self.persons:
            if any(record.split == "val" for record in load_records(path)):
                found[path.stem] = self._load(path, "val")
        if not any(found.values()):
            raise DataError(
                "none of the data has a split 'val' to measure and calibrate on; make one with "
                "edgepose-data convert --val 0.1"
            )
        return {name: people for name, people in found.items() if people}

    def _load(self, path: Path, split: str, share: float = 1.0) -> list[Example]:
        return load_examples(path, split, self.skeleton, share, self.recipe.boxes == "full")


def train_numbered(run: Run, number: int) -> None:
    """Train stage ``number``, on what the bundle's stages before it really do."""
    recipe = run.recipe.stages[number - 1]
    examples, repeats = run.training_set()
    sets = run.held_out()
    estimates, before = None, dict.fromkeys(sets)
    val = {name: (people, before[name]) for name, people in sets.items()}
    if number > 1:
        cascade = HostCascade(Bundle(run.bundle), open_backend(threads=run.threads), number - 1)
        val = {
            name: (people, estimate(cascade, people, 1, 0.0, 0, run.processes)[:, 0])
            for name, people in sets.items()
        }
        jitter, draws = recipe.jitter, recipe.estimates
        estimates = estimate(cascade, examples, draws, jitter, run.seed, run.processes)
        cascade.close()
    train_stage(
        recipe,
        run.skeleton,
        examples,
        repeats,
        val,
        run.plan(recipe.minutes, recipe.optimiser),
        run.out / f"stage{number}",
        estimates=estimates,
        earlier=run.checkpoint(recipe.start) if recipe.start else None,
        init=run.start(f"stage{number}"),
        title=f"stage {number}",
    )


def describe(run: Run) -> list[str]:
    """One line per stage: its network and how many parameters it has."""
    lines = []
    for number, stage in enumerate(run.recipe.stages, 1):
        count = sum(p.numel() for p in build(stage, len(run.skeleton)).parameters())
        lines.append(
            f"stage {number}: {stage.kind}, {stage.network} with a {stage.head} head, "
            f"{stage.sizes[-1]} px, {count / 1e6:.2f} M parameters"
        )
    return lines


def estimate(
    cascade: HostCascade,
    examples: Sequence[Example],
    draws: int,
    jitter: float,
    seed: int,
    processes: Processes,
) -> Float:
    """What the stages so far make of each person: (n, draws, k, 2), pixels.

    ``jitter``: deviation of the box's centre (share of its size) and of its log size.
    """
    own = range(processes.rank, len(examples), processes.count)
    poses = np.empty((len(own), draws, len(cascade.skeleton), 2), np.float32)
    for row, index in enumerate(own):
        rng = np.random.default_rng((seed, index))
        centre, size = centre_and_size(np.repeat(examples[index].box[None], draws, 0))
        shift = size * rng.normal(0, jitter / 2, centre.shape)
        grown = size * np.exp(rng.normal(0, jitter, (draws, 1)))
        poses[row] = cascade(examples[index].picture, boxes_around(centre + shift, grown)).joints
    return processes.gathered(poses, len(examples))
