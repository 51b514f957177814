"""Training part by part; after each the bundle is exported and calibrated anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from edgepose.bundle_manifest import DetectorSpec, Pixels
from edgepose.crop import crop
from edgepose.errors import DataError
from edgepose.evaluate.metrics import calibration_error
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.nv12 import as_bgr
from edgepose.people.detector import NMS_IOU, THRESHOLD
from edgepose.sources.open import SAMPLE_BOX, open_source
from edgepose.train import calibrate
from edgepose.train.augment import MEAN, STD
from edgepose.train.checkpoints import SUFFIX, averaged, existing
from edgepose.train.detector import DetectorConfig, export_detector, load_detector, train_detector
from edgepose.train.examples import Example
from edgepose.train.export import Calibrated, ExportedStage, StageExport, deployable, write_bundle
from edgepose.train.heads import HEADS
from edgepose.train.parts import Run, train_numbered
from edgepose.train.stages import predict
from edgepose.train.zoo import build
from edgepose.types import Float


def train_part(run: Run, part: str) -> None:
    """Train ``part`` ("detector" or a stage's number) and bring the bundle up to date."""
    torch.set_num_threads(run.threads)
    if part not in run.recipe.parts():
        raise DataError(
            f"recipe {run.recipe.name} has no part {part!r}; --part takes "
            f"{', '.join(run.recipe.parts())}"
        )
    if part == "detector":
        assert run.recipe.detector is not None
        recipe, folder = run.recipe.detector, run.out / "detector"
        plan = run.plan(recipe.minutes, recipe.optimiser)
        train_detector(DetectorConfig(run.data, folder, recipe, plan, run.start("detector")))
        if existing(run.checkpoint(1)) is None:
            return
    else:
        train_numbered(run, int(part))
    if run.processes.main:
        write(run)
    run.processes.wait()


def write(run: Run) -> Path:
    """Export what has a checkpoint into the run's bundle; scores calibrated on split "val".

    A later stage counts only behind all earlier ones. Returns the bundle's folder.
    """
    sets, skeleton = run.held_out(), run.skeleton
    people = [p for part in sets.values() for p in part]
    # A set counts by the root of its persons: neither the largest nor the easiest alone decides.
    pull = {name: run.recipe.scores.get(name, 1.0) * len(p) ** 0.5 for name, p in sets.items()}
    share = [
        np.full(len(p), len(people) * pull[name] / sum(pull.values()) / len(p), np.float32)
        for name, p in sets.items()
    ]
    weights = np.concatenate(share)
    frame = as_bgr(next(iter(open_source("sample"))).image)
    stages: list[StageExport] = []
    poses = sample = mass = None
    for number, recipe in enumerate(run.recipe.stages, 1):
        if existing(run.checkpoint(number)) is None:
            break
        net = build(recipe, len(skeleton))
        net.load_state_dict(averaged(run.checkpoint(number)))
        deployable(net)
        poses, mass = predict(net, people, skeleton, recipe, poses)
        network = ExportedStage(
            net,
            HEADS[recipe.kind, recipe.head],
            Calibrated(*calibrate.fit(poses, mass, people, skeleton, weights)),
        )
        if sample is None:
            boxes = square_boxes([SAMPLE_BOX], recipe.extent)
        else:
            boxes = joint_boxes(sample, skeleton, recipe.extent)
        size = recipe.sizes[-1]
        golden = np.asarray(crop(frame, boxes.reshape(-1, 4), size, mean=MEAN, std=STD), np.float32)
        stages.append(StageExport(network, size, recipe.extent, golden))
        # The stages' own estimate on the sample is the next one's golden input.
        moved = stages[-1].run()[0]
        if sample is None:
            sample = denormalise(moved, boxes)
        else:
            sample = refine(sample, moved.reshape(sample.shape), boxes)
    assert poses is not None
    assert mass is not None
    write_bundle(
        run.bundle,
        stages,
        name=run.recipe.name,
        version=run.recipe.version,
        skeleton=skeleton,
        pixels=Pixels(1.0, MEAN, STD),
        detector=_detector(run),
        training={
            "data": ", ".join(path.stem for path in run.data),
            "seed": run.seed,
            "boxes": run.recipe.boxes,
            **_calibration_errors(run, poses, mass, weights, sets),
        },
    )
    return run.bundle


def _calibration_errors(
    run: Run, poses: Float, mass: Float, weights: Float, sets: Mapping[str, Sequence[Example]]
) -> dict[str, float]:
    """Expected calibration error of each of ``sets``, out of fold; none of a single person."""
    people = [p for part in sets.values() for p in part]
    if len(people) < 2:
        return {}
    scores = calibrate.out_of_fold(poses, mass, people, run.skeleton, weights)
    known, right = calibrate.hits(poses, people, run.skeleton)
    errors, first = {}, 0
    for name, part in sets.items():
        rows = slice(first, first + len(part))
        error = calibration_error(scores[rows][known[rows]], right[rows][known[rows]])
        if not np.isnan(error):
            errors[f"calibration_error_{name}"] = round(error, 4)
        first += len(part)
    return errors


def _detector(run: Run) -> tuple[Path, DetectorSpec] | None:
    weights, recipe = run.out / "detector" / f"weights{SUFFIX}", run.recipe.detector
    if recipe is None or existing(weights) is None:
        return None
    model = load_detector(weights, recipe)
    path = export_detector(model, run.out / "detector" / "detector.onnx", recipe.size)
    return path, DetectorSpec("detector.onnx", "", recipe.size, THRESHOLD, NMS_IOU)
