"""Train, measure and export the person detector."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgepose.bundle import SHIPPED
from edgepose.evaluate.detection import figures, match
from edgepose.geometry import box_iou
from edgepose.people.detector import Detector
from edgepose.train.checkpoints import SUFFIX, averaged, save_checkpoint
from edgepose.train.detector_batches import Batches
from edgepose.train.detector_data import LabelledPicture, load_sources
from edgepose.train.detector_lite0 import Lite0Detector
from edgepose.train.detector_loss import detection_loss
from edgepose.train.detector_nano import NanoDetector
from edgepose.train.export import deployable, export_onnx
from edgepose.train.loop import Batch, Plan, train
from edgepose.train.recipe import DetectorRecipe

BOX_WEIGHT = 2.0  # of the box loss beside the score loss

Network = Lite0Detector | NanoDetector


@dataclass
class DetectorConfig:
    """What to train on and how long.

    ``sets`` are annotation files, of persons (:mod:`edgepose.data.records`) or of whole scenes
    (:mod:`edgepose.data.scenes`), ``out`` the run's folder. ``init``: a checkpoint to start from,
    or RTMDet-nano's ONNX file; None starts Lite0 from ImageNet, the nano network from the detector
    of the bundle that ships.
    """

    sets: Sequence[Path]
    out: Path
    recipe: DetectorRecipe
    plan: Plan = field(default_factory=lambda: Plan(steps=20000))
    init: Path | None = None


def build(recipe: DetectorRecipe) -> Network:
    """The recipe's network, its weights as torch draws them."""
    return Lite0Detector() if recipe.network == "lite0" else NanoDetector()


def _started(config: DetectorConfig) -> Network:
    model = build(config.recipe)
    if config.init is not None and config.init.suffix != ".onnx":
        model.load_state_dict(averaged(config.init))
    elif isinstance(model, NanoDetector):
        model.load_onnx(config.init or SHIPPED / "detector.onnx")
    else:
        model.backbone.load_imagenet()
    return model


def train_detector(config: DetectorConfig) -> Path:
    """Train, resuming from ``config.out``; returns the path of the weights that ship.

    Raises DataError on bad data and TrainingError when training cannot go on, each in one sentence.
    """
    torch.manual_seed(config.plan.seed)
    recipe = config.recipe
    sources = load_sources(config.sets, "train")
    held_out = load_sources(config.sets, "val")
    model = _started(config)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        with config.plan.autocast():
            logits, boxes, points = network(image)
        score, box = detection_loss(logits, boxes, points, batch["truth"], batch["ignore"])
        return {"loss": score + BOX_WEIGHT * box, "score": score, "box": box}

    def evaluate(network: nn.Module) -> dict[str, float]:
        run = torch_network(network)
        return measure(Detector(run, recipe.size, portrait=run), _some(held_out))

    batches = Batches(sources, recipe.size, recipe.batch, config.plan.seed, recipe.composed)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trained = train(
        model,
        loss,
        lambda step: batches(step, config.plan.processes),
        config.plan,
        config.out,
        evaluate=evaluate if held_out else None,
        title="detector",
    )
    path = config.out / f"weights{SUFFIX}"
    if config.plan.processes.main:
        _write_kept(trained, start, recipe.keep, path)
    return path


def _write_kept(model: nn.Module, start: dict[str, Tensor], share: float, path: Path) -> None:
    """Write the mean of the trained weights and ``share`` of those of the start."""
    mean = {
        name: torch.lerp(value, start[name].to(value.dtype), share)
        if value.dtype.is_floating_point
        else value
        for name, value in model.state_dict().items()
    }
    save_checkpoint(path, {"ema": mean})


def _some(sources: Sequence[LabelledPicture], most: int = 150) -> list[LabelledPicture]:
    """All whole pictures, and at most so many of the others."""
    crops = [s for s in sources if not s.whole]
    return [*crops[:: max(1, len(crops) // most)], *(s for s in sources if s.whole)]


def torch_network(model: nn.Module) -> Any:
    """A network for :class:`edgepose.people.detector.Detector` that runs ``model`` in torch."""

    @torch.no_grad()
    def run(inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        return tuple(out.numpy() for out in model(torch.from_numpy(inputs)))

    return run


def measure(
    detector: Detector, sources: Sequence[LabelledPicture], iou: float = 0.5
) -> dict[str, float]:
    """What ``detector`` finds of the persons of crops, and on whole pictures; shares in [0, 1].

    ``recall`` is that of the persons with joint labels in crops, ``recall_all`` that of all boxes
    such as those trained on, ``precision`` that of the boxes found, those on unsure regions apart.
    ``scene_…`` are the figures of whole pictures, see :class:`edgepose.evaluate.detection`.
    """
    crops = [s for s in sources if not s.whole]
    result = _measure_crops(detector, crops, iou) if crops else {}
    scenes = [
        match(detector(s.picture), np.c_[s.persons, np.ones(len(s.persons))], s.unsure)
        for s in sources
        if s.whole
    ]
    if scenes:
        found = figures(scenes, detector.threshold)
        result |= {
            "scene_recall": found.recall,
            "scene_precision": found.precision,
            "false_per_100": found.false_per_100,
        }
    return {name: round(value, 4) for name, value in result.items()}


def _measure_crops(
    detector: Detector, sources: Sequence[LabelledPicture], iou: float
) -> dict[str, float]:
    hits: list[bool] = []
    hits_all: list[bool] = []
    right = wrong = 0
    for source in sources:
        boxes = detector(source.picture)[:, :4]
        overlap = box_iou(source.persons, boxes)
        overlap_annotated = box_iou(source.annotated, boxes)
        hits_all += list(overlap.max(1, initial=0) >= iou)
        hits += list(overlap_annotated.max(1, initial=0) >= iou)
        matched = np.concatenate((overlap, overlap_annotated)).max(0, initial=0) >= iou
        unsure = box_iou(source.unsure, boxes).max(0, initial=0) >= 0.3
        right, wrong = right + int(matched.sum()), wrong + int((~matched & ~unsure).sum())
    return {
        "recall": sum(hits) / max(len(hits), 1),
        "recall_all": sum(hits_all) / max(len(hits_all), 1),
        "precision": right / max(right + wrong, 1),
    }


def load_detector(checkpoint: Path, recipe: DetectorRecipe) -> Network:
    """A checkpoint's averaged network, in eval mode; TrainingError if it cannot be read."""
    model = build(recipe)
    model.load_state_dict(averaged(checkpoint))
    return model.eval()


def export_detector(model: Network, path: Path, size: tuple[int, int]) -> Path:
    """Write the detector as ONNX: ``image`` (1, 3, H, W) to ``boxes`` and ``scores``.

    H and W, multiples of 32, are open; ``size`` is what the graph is traced with. The form that
    ships: batch normalisation folded, weights rounded to what float16 holds; ``model`` is left as
    it is.
    """
    model = copy.deepcopy(model)
    deployable(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("image", "boxes", "scores")
    axes = {"image": {2: "height", 3: "width"}, "boxes": {1: "points"}, "scores": {1: "points"}}
    export_onnx(model, torch.zeros(1, 3, *size), path, names, axes=axes)
    return path
