"""Training a bundle, part by part: each stage on the errors of the shipped form of those before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgepose.backends import open_backend
from edgepose.bundle import Bundle, DetectorSpec, Pixels
from edgepose.cascade.host import HostCascade
from edgepose.crop import crop
from edgepose.data.records import load_records
from edgepose.errors import DataError
from edgepose.evaluate.metrics import calibration_error
from edgepose.geometry import (
    boxes_around,
    centre_and_size,
    denormalise,
    joint_boxes,
    refine,
    square_boxes,
)
from edgepose.people.detector import NMS_IOU, THRESHOLD
from edgepose.skeleton import LSP14
from edgepose.sources.open import open_source
from edgepose.train import calibrate
from edgepose.train.data import MEAN, STD, Array, Person, load_persons
from edgepose.train.detector import DetectorConfig, export_detector, train_detector
from edgepose.train.export import (
    Calibrated,
    RefineExport,
    StageExport,
    StageOneExport,
    deployable,
    write_bundle,
)
from edgepose.train.kinds import later_stage, stage_one
from edgepose.train.loop import Plan, load_checkpoint
from edgepose.train.recipe import (
    DetectorRecipe,
    RefineRecipe,
    StageOneRecipe,
    TrainingRecipe,
)
from edgepose.train.stages import predict_refine, predict_stage_one, train_refine, train_stage_one

_DRAWS = 2  # estimates per training person that a later stage learns from
DETECTOR_SIZE = 192
_SAMPLE_BOX = np.array([[230, 310, 575, 1180]], np.float32)  # the man in the sample's first frame


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

    @property
    def bundle(self) -> Path:
        """Folder of the bundle so far."""
        return self.out / "bundle"

    def plan(self, part: StageOneRecipe | RefineRecipe | DetectorRecipe) -> Plan:
        """Schedule of one part."""
        plan = Plan(self.steps, self.minutes or part.minutes, part.lr, seed=self.seed)
        if isinstance(part, DetectorRecipe):
            return plan
        return replace(plan, slow=part.slow, weight_decay=part.weight_decay, ema=part.ema)

    def start(self, part: str) -> Path | None:
        """What ``part`` starts from: the file ``init``, or this part's in the folder ``init``.

        MoveNet's ONNX file starts stage 1 alone.
        """
        if self.init is None or not self.init.is_dir():
            onnx = self.init is not None and self.init.suffix == ".onnx"
            return None if onnx and part != "stage1" else self.init
        return self.init / f"{part}.pt"

    def training_set(self) -> tuple[list[Person], list[int]]:
        """All sets by the recipe's mix: the persons, and how often each is seen per epoch."""
        persons: list[Person] = []
        repeats: list[int] = []
        for path in self.data:
            times = self.recipe.mix.get(path.stem, 1.0)
            part = load_persons(path, "train", min(times, 1.0))
            persons += part
            repeats += [max(1, round(times))] * len(part)
        return persons, repeats

    def held_out(self) -> dict[str, list[Person]]:
        """Persons of split "val", by set; sets without one are left out."""
        found = {}
        for path in self.data:
            if any(record.split == "val" for record in load_records(path)):
                found[path.stem] = load_persons(path, "val")
        if not found:
            raise DataError("none of the data has a split 'val' to measure and calibrate on")
        return found


def train_part(run: Run, part: str) -> None:
    """Train ``part`` ("detector" or a stage's number) and bring the bundle up to date."""
    torch.set_num_threads(run.threads)
    folder = run.out / (part if part == "detector" else f"stage{part}")
    if part == "detector":
        plan = run.plan(run.recipe.detector)
        train_detector(
            DetectorConfig(
                run.data, folder, size=DETECTOR_SIZE, plan=plan, init=run.start("detector")
            )
        )
        if not (run.out / "stage1" / "checkpoint.pt").exists():
            return
    elif part == "1":
        persons, repeats = run.training_set()
        one = run.recipe.stage1
        plan = run.plan(one)
        train_stage_one(
            persons, repeats, run.held_out(), one, plan, folder, init=run.start("stage1")
        )
    else:
        later = {str(n): r for n, r in enumerate(run.recipe.refine, 2)}
        if part not in later:
            raise DataError(
                f"recipe {run.recipe.name} has no stage {part}; --part takes 1, "
                f"{', '.join(later)} or detector"
            )
        stage, recipe = int(part), later[part]
        persons, repeats = run.training_set()
        cascade = HostCascade(Bundle(run.bundle), open_backend(threads=run.threads), stage - 1)
        val = {
            name: (people, estimate(cascade, people, draws=1, jitter=0.0)[:, 0])
            for name, people in run.held_out().items()
        }
        estimates = estimate(cascade, persons, _DRAWS, jitter=0.1, seed=run.seed)
        plan = run.plan(recipe)
        train_refine(
            stage,
            persons,
            repeats,
            estimates,
            val,
            recipe,
            plan,
            folder,
            run.out / "stage1" / "checkpoint.pt",
            init=run.start(f"stage{stage}"),
        )
    write(run)


def estimate(
    cascade: HostCascade, persons: Sequence[Person], draws: int, jitter: float, seed: int = 0
) -> Array:
    """What the stages so far make of each person: (persons, draws, k, 2), pixels.

    ``jitter``: deviation of the box's centre (share of its size) and of its log size.
    """
    rng = np.random.default_rng(seed)
    poses = np.empty((len(persons), draws, len(LSP14), 2), np.float32)
    for index, person in enumerate(persons):
        centre, size = centre_and_size(np.repeat(person.box[None], draws, 0))
        shift = size * rng.normal(0, jitter / 2, centre.shape)
        grown = size * np.exp(rng.normal(0, jitter, (draws, 1)))
        boxes = boxes_around(centre + shift, grown)
        poses[index] = cascade(person.picture, boxes).joints
    return poses


def write(run: Run) -> Path:
    """Export what has a checkpoint into the run's bundle; scores calibrated on split "val".

    A later stage counts only behind all earlier ones. Returns the bundle's folder.
    """
    sets = run.held_out()
    people = [p for part in sets.values() for p in part]
    # Every set counts alike, however many persons it holds: labels are noisier in some than others.
    share = [np.full(len(p), len(people) / len(sets) / len(p), np.float32) for p in sets.values()]
    weights = np.concatenate(share)
    frame = next(iter(open_source("sample"))).image
    recipe = run.recipe
    size, margin = recipe.stage1.sizes[-1], recipe.stage1.margin
    one = stage_one(recipe.stage1, len(LSP14))
    one.load_state_dict(load_checkpoint(run.out / "stage1" / "checkpoint.pt")["ema"])
    deployable(one)
    poses, mass = predict_stage_one(one, people, size, margin)
    network: nn.Module = StageOneExport(
        one, Calibrated(*calibrate.fit(poses, mass, people, weights))
    )
    box = square_boxes(_SAMPLE_BOX, margin)
    stages = [StageExport(network, size, margin, _cut(frame, box, size))]
    # The stages' own estimate on the sample is the next one's golden input.
    sample = denormalise(stages[0].run()[0], box)
    for number, refine_recipe in enumerate(recipe.refine, 2):
        checkpoint = run.out / f"stage{number}" / "checkpoint.pt"
        if not checkpoint.exists():
            break
        size, sigma = refine_recipe.size, refine_recipe.sigma
        net = later_stage(refine_recipe, len(LSP14))
        net.load_state_dict(load_checkpoint(checkpoint)["ema"])
        deployable(net)
        poses, mass = predict_refine(net, people, poses, size, sigma)
        network = RefineExport(net, Calibrated(*calibrate.fit(poses, mass, people, weights)))
        boxes = joint_boxes(sample, LSP14, sigma)
        stages.append(StageExport(network, size, sigma, _cut(frame, boxes[0], size)))
        sample = refine(sample, stages[-1].run()[0].reshape(sample.shape), boxes)
    write_bundle(
        run.bundle,
        stages,
        name=recipe.name,
        version=recipe.version,
        skeleton=LSP14,
        pixels=Pixels(1.0, MEAN, STD),
        detector=_detector(run),
        training={
            "data": ", ".join(path.stem for path in run.data),
            "seed": run.seed,
            **_calibration_errors(poses, mass, people, weights, sets),
        },
    )
    return run.bundle


def _calibration_errors(
    poses: Array,
    mass: Array,
    people: Sequence[Person],
    weights: Array,
    sets: Mapping[str, Sequence[Person]],
) -> dict[str, float]:
    """Expected calibration error of each of ``sets``, which make up ``people``, out of fold."""
    scores = calibrate.out_of_fold(poses, mass, people, weights)
    known, right = calibrate.hits(poses, people)
    errors, first = {}, 0
    for name, part in sets.items():
        rows = slice(first, first + len(part))
        error = calibration_error(scores[rows][known[rows]], right[rows][known[rows]])
        errors[f"calibration_error_{name}"] = round(error, 4)
        first += len(part)
    return errors


def _cut(frame: NDArray[np.uint8], boxes: Array, size: int) -> Array:
    return np.asarray(crop(frame, boxes, size, mean=MEAN, std=STD), np.float32)


def _detector(run: Run) -> tuple[Path, DetectorSpec] | None:
    checkpoint = run.out / "detector" / "checkpoint.pt"
    if not checkpoint.exists():
        return None
    path = export_detector(checkpoint, run.out / "detector" / "detector.onnx", DETECTOR_SIZE)
    size = (DETECTOR_SIZE, DETECTOR_SIZE)
    return path, DetectorSpec("detector.onnx", "", size, THRESHOLD, NMS_IOU)
