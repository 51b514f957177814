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

from edgepose.geometry import box_iou
from edgepose.people.detector import Detector
from edgepose.train.checkpoints import averaged
from edgepose.train.detector_compose import Composer, batches
from edgepose.train.detector_data import Scene, free_patches, load_scenes
from edgepose.train.detector_net import DetectorNet, detection_loss
from edgepose.train.export import deployable, export_onnx
from edgepose.train.loop import Batch, Plan, train

BOX_WEIGHT = 2.0  # of the box loss beside the score loss


@dataclass
class DetectorConfig:
    """What to train on and how long.

    ``sets`` are annotation files (see :mod:`edgepose.data.records`), ``out`` the run's folder,
    ``size`` the side of the canvases in pixels, a multiple of 32, ``batch`` canvases per step,
    ``init`` a checkpoint to start from instead of ImageNet.
    """

    sets: Sequence[Path]
    out: Path
    size: int = 192
    batch: int = 16
    plan: Plan = field(default_factory=lambda: Plan(steps=20000, minutes=36.0))
    init: Path | None = None


def train_detector(config: DetectorConfig) -> Path:
    """Train, resuming from ``config.out``; returns the checkpoint's path.

    Raises DataError on bad data and TrainingError when training cannot go on, each in one sentence.
    """
    torch.manual_seed(config.plan.seed)
    sources = load_scenes(config.sets, "train")
    held_out = load_scenes(config.sets, "val")
    model = DetectorNet()
    model.backbone.load_imagenet()
    if config.init is not None:
        model.load_state_dict(averaged(config.init))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        with config.plan.autocast():
            logits, distances = network(image)
        size = (image.shape[-2], image.shape[-1])
        score, box = detection_loss(
            logits.float(), distances.float(), size, batch["truth"], batch["ignore"]
        )
        return {"loss": score + BOX_WEIGHT * box, "score": score, "box": box}

    def evaluate(network: nn.Module) -> dict[str, float]:
        detector = Detector(torch_network(network), config.size)
        return measure(detector, held_out[:: max(1, len(held_out) // 150)])

    composer = Composer(sources, config.size, config.plan.seed)
    train(
        model,
        loss,
        lambda step: batches(composer, config.batch, step, config.plan.processes),
        config.plan,
        config.out,
        evaluate=evaluate if held_out else None,
        title="detector",
    )
    return config.out / "checkpoint.pt"


def torch_network(model: nn.Module) -> Any:
    """A network for :class:`edgepose.people.detector.Detector` that runs ``model`` in torch."""

    @torch.no_grad()
    def run(inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        return tuple(out.numpy() for out in model(torch.from_numpy(inputs)))

    return run


def measure(detector: Detector, sources: Sequence[Scene], iou: float = 0.5) -> dict[str, float]:
    """Recall and precision at ``iou`` on whole pictures, and false persons on person-free ones.

    ``recall`` is that of the persons with joint labels, ``recall_all`` that of all boxes such as
    those trained on; ``false_per_100`` counts what is found on 100 canvases composed of the
    sources' person-free patches. Boxes on unsure regions count neither way.
    """
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
    result = {
        "recall": sum(hits) / max(len(hits), 1),
        "recall_all": sum(hits_all) / max(len(hits_all), 1),
        "precision": right / max(right + wrong, 1),
    }
    if free_patches(sources):
        composer = Composer(sources, detector.size[0], seed=1)
        count = 0
        for _ in range(100):
            levels = composer.canvas(empty=True)[0]
            picture = np.ascontiguousarray(levels.transpose(1, 2, 0)[..., ::-1])
            count += len(detector(np.round(picture).astype(np.uint8)))
        result["false_per_100"] = float(count)
    return {name: round(value, 4) for name, value in result.items()}


def load_detector(checkpoint: Path) -> DetectorNet:
    """The averaged network of a checkpoint, in eval mode; TrainingError if it cannot be read."""
    model = DetectorNet()
    model.load_state_dict(averaged(checkpoint))
    return model.eval()


def export_detector(checkpoint: Path, path: Path, size: int = 192) -> Path:
    """Write the detector as ONNX: ``image`` (1, 3, size, size) to ``boxes`` and ``scores``.

    The form that ships: batch normalisation folded, weights rounded to what float16 holds. Raises
    TrainingError if the checkpoint cannot be read.
    """
    return export_network(load_detector(checkpoint), path, size)


def export_network(model: DetectorNet, path: Path, size: int) -> Path:
    """Write ``model`` as ONNX, see :func:`export_detector`; the model is left as it is."""
    model = copy.deepcopy(model)
    deployable(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("image", "boxes", "scores")
    export_onnx(model, torch.zeros(1, 3, size, size), path, names, dynamic=False)
    return path
