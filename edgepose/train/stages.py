"""Training the stages of the cascade: losses, held-out check, one function per kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from edgepose.crop import crop
from edgepose.evaluate.metrics import pck
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.skeleton import LSP14
from edgepose.train.data import (
    MEAN,
    STD,
    Array,
    Augment,
    EpochSampler,
    Person,
    RefineData,
    StageOneData,
)
from edgepose.train.kinds import later_stage, start_later_stage, start_stage_one
from edgepose.train.loop import Batch, Plan, load_checkpoint, train
from edgepose.train.movenet_refine import MoveNetRefine
from edgepose.train.networks import RefineNet, local_soft_argmax, soft_argmax
from edgepose.train.recipe import RefineRecipe, StageOneRecipe

LaterStage = RefineNet | MoveNetRefine
_SHOWN = 48  # training items shown to a network that chooses which channels to start from
_CELL_SIGMA = 0.7  # spread of the Gaussian that a joint's map is trained towards, in cells
_MAP_WEIGHT = 0.3
_COORDINATE_WEIGHT = 10.0
_BETA = 0.01  # where smooth L1 turns from square to linear, in units of the crop


def map_target(target: Tensor, height: int, width: int) -> Tensor:
    """Gaussian (N, k, h·w) about normalised positions (N, k, 2), summing to 1."""
    row, column = (
        torch.arange(height, device=target.device),
        torch.arange(width, device=target.device),
    )
    x = (target[..., 0, None] + 0.5) * width - 0.5 - column
    y = (target[..., 1, None] + 0.5) * height - 0.5 - row
    logits = -(y[..., :, None] ** 2 + x[..., None, :] ** 2) / (2 * _CELL_SIGMA**2)
    return logits.flatten(-2).softmax(-1)


def stage_one_loss(model: nn.Module, batch: Batch, bf16: bool) -> dict[str, Tensor]:
    """Smooth L1 on normalised coordinates (equation (8) made robust) and cross-entropy of the maps.

    Labelled joints inside the crop only, each person weighted by how far its labels are trusted.
    """
    crops = batch["crop"].contiguous(memory_format=torch.channels_last)
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=bf16):
        logits = model(crops)
    logits = logits.float()
    weight = batch["mask"] * batch["weight"][:, None]
    goal = map_target(batch["target"], logits.shape[2], logits.shape[3])
    return _terms(soft_argmax(logits), batch["target"], weight, logits.flatten(2), goal, weight)


@torch.no_grad()
def predict_stage_one(
    model: nn.Module, persons: Sequence[Person], size: int, margin: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Joints (n, k, 2) in pixels and window masses (n, k) on unaugmented true boxes."""
    joints, masses = [], []
    for start in range(0, len(persons), 50):
        part = persons[start : start + 50]
        boxes = square_boxes(np.stack([p.box for p in part]), margin)
        frames = [p.picture for p in part]
        crops = crop(frames, boxes, size, frame_index=np.arange(len(part)), mean=MEAN, std=STD)
        points, mass = local_soft_argmax(model(torch.from_numpy(crops)))
        joints.append(denormalise(points.numpy(), boxes))
        masses.append(mass.numpy())
    return np.concatenate(joints), np.concatenate(masses)


def held_out(
    joints: NDArray[np.float32], persons: Sequence[Person], prefix: str = ""
) -> dict[str, float]:
    """PCK@0.1 and PCK@0.2 (percent) of predictions (n, k, 2) on ``persons``."""
    truth = np.stack([p.joints for p in persons])
    labelled = np.stack([p.labelled for p in persons])
    return {
        f"{prefix}pck{t}": round(100 * pck(joints, truth, labelled, LSP14, t).mean, 2)
        for t in (0.1, 0.2)
    }


def refine_loss(model: nn.Module, batch: Batch, bf16: bool) -> dict[str, Tensor]:
    """As for stage 1, on joint crops; a joint outside its crop trains the "outside" logit."""
    assert isinstance(model, LaterStage)
    crops = batch["crop"].flatten(0, 1).contiguous(memory_format=torch.channels_last)
    joint, target, mask = (batch[name].flatten(0, 1) for name in ("joint", "target", "mask"))
    weight = batch["weight"].flatten()
    with torch.autocast(crops.device.type, torch.bfloat16, enabled=bf16):
        logits = model(crops, joint)
    logits = logits.float()
    side = math.isqrt(logits.shape[1] - 1)
    goal = map_target(target[:, None], side, side)[:, 0] * mask[:, None]
    goal = torch.cat((goal, 1 - mask[:, None]), -1)
    return _terms(model.position(logits), target, mask * weight, logits, goal, weight)


def _terms(
    points: Tensor, target: Tensor, seen: Tensor, logits: Tensor, goal: Tensor, counted: Tensor
) -> dict[str, Tensor]:
    """Coordinates (…, 2) weighted by ``seen``, maps (…, cells) by ``counted``, and their sum."""
    distance = F.smooth_l1_loss(points, target, beta=_BETA, reduction="none").sum(-1)
    coordinates = (distance * seen).sum() / seen.sum().clamp(min=1)
    entropy = -(goal * logits.log_softmax(-1)).sum(-1)
    maps = (entropy * counted).sum() / counted.sum().clamp(min=1)
    return {
        "loss": _COORDINATE_WEIGHT * coordinates + _MAP_WEIGHT * maps,
        "coordinates": coordinates,
        "maps": maps,
    }


@torch.no_grad()
def predict_refine(
    model: RefineNet | MoveNetRefine,
    persons: Sequence[Person],
    poses: Array,
    size: int,
    sigma: float,
) -> tuple[Array, Array]:
    """Refined joints (n, k, 2) in pixels and masses (n, k), from the estimates ``poses``."""
    k = len(LSP14)
    boxes = joint_boxes(poses, LSP14, sigma)
    joints, masses = [], []
    for start in range(0, len(persons), 20):
        part = persons[start : start + 20]
        crops = crop(
            [p.picture for p in part],
            boxes[start : start + 20].reshape(-1, 4),
            size,
            frame_index=np.repeat(np.arange(len(part)), k),
            mean=MEAN,
            std=STD,
        )
        moved, mass = model.decode(model(torch.from_numpy(crops)))
        joints.append(moved.numpy().reshape(-1, k, 2))
        masses.append(mass.numpy().reshape(-1, k))
    return refine(poses, np.concatenate(joints), boxes), np.concatenate(masses)


def batches(
    data: Dataset[dict[str, Array]], repeats: Sequence[int], batch: int, plan: Plan, folder: Path
) -> Iterator[Batch]:
    """Endless batches; goes on in the same shuffled order where ``folder``'s checkpoint stopped.

    ``repeats`` (persons,): how often each person is seen per epoch.
    """
    checkpoint = folder / "checkpoint.pt"
    step = int(load_checkpoint(checkpoint)["step"]) if checkpoint.exists() else 0
    indices = np.repeat(np.arange(len(repeats)), repeats)
    sampler = EpochSampler(indices, plan.seed, step * batch)
    return iter(
        DataLoader(data, batch_size=batch, sampler=sampler, num_workers=1, prefetch_factor=4)
    )


def train_stage_one(
    persons: Sequence[Person],
    repeats: Sequence[int],
    val: Mapping[str, Sequence[Person]],
    recipe: StageOneRecipe,
    plan: Plan,
    folder: Path,
    *,
    augment: Augment | None = None,
    init: Path | None = None,
) -> nn.Module:
    """Train stage 1; gives the EMA network. ``init``: see :func:`edgepose.train.kinds`.

    The crops grow through ``recipe.sizes`` in equal shares of the time: coarse ones are several
    times cheaper and teach most of what there is to learn (progressive resizing).
    """
    torch.manual_seed(plan.seed)
    augment = augment or recipe.augment

    def crops() -> Tensor:
        data = StageOneData(persons, recipe.sizes[-1], recipe.margin, augment, plan.seed)
        some = np.linspace(0, len(data) - 1, min(_SHOWN, len(data))).astype(int)
        return torch.from_numpy(np.stack([data[0, i]["crop"] for i in some]))

    model = start_stage_one(recipe, len(LSP14), init, crops)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = model
    for phase, size in enumerate(recipe.sizes, 1):
        data = StageOneData(persons, size, recipe.margin, augment, plan.seed)

        def evaluate(network: nn.Module, size: int = size) -> dict[str, float]:
            scores: dict[str, float] = {"size": size}
            for name, people in val.items():
                joints, _ = predict_stage_one(network, people, size, recipe.margin)
                scores |= held_out(joints, people, f"{name}_")
            return scores

        trained = train(
            model,
            lambda m, b: stage_one_loss(m, b, plan.bf16),
            batches(data, repeats, recipe.batch, plan, folder),
            plan,
            folder,
            until=phase / len(recipe.sizes),
            evaluate=evaluate,
            evaluate_every=1000,
            title=f"stage 1, {size} px",
        )
    return trained


def train_refine(
    stage: int,
    persons: Sequence[Person],
    repeats: Sequence[int],
    estimates: Array,
    val: Mapping[str, tuple[Sequence[Person], Array]],
    recipe: RefineRecipe,
    plan: Plan,
    folder: Path,
    stage_one: Path,
    *,
    augment: Augment | None = None,
    init: Path | None = None,
) -> nn.Module:
    """Train stage ``stage`` >= 2 on the errors of the stages before it; gives the EMA network.

    Its backbone starts from the checkpoint ``stage_one``, or the whole network from ``init``.

    ``estimates`` (persons, draws, k, 2): see :class:`RefineData`. ``val`` gives per name the
    held-out persons and the earlier stages' estimates (n, k, 2) on them.
    """
    torch.manual_seed(plan.seed)
    augment = augment or recipe.augment
    data = RefineData(
        persons, estimates, recipe.size, recipe.sigma, recipe.crops, augment, plan.seed
    )

    def crops() -> Tensor:
        some = np.linspace(0, len(data) - 1, min(_SHOWN, len(data))).astype(int)
        return torch.from_numpy(np.concatenate([data[0, i]["crop"] for i in some]))

    if init is not None:
        model: nn.Module = later_stage(recipe, len(LSP14))
        model.load_state_dict(load_checkpoint(init)["ema"])
    else:
        model = start_later_stage(recipe, len(LSP14), load_checkpoint(stage_one)["ema"], crops)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def evaluate(network: nn.Module) -> dict[str, float]:
        scores: dict[str, float] = {}
        assert isinstance(network, LaterStage)
        for name, (people, poses) in val.items():
            joints, _ = predict_refine(network, people, poses, recipe.size, recipe.sigma)
            scores |= held_out(poses, people, f"{name}_before_")
            scores |= held_out(joints, people, f"{name}_")
        return scores

    return train(
        model,
        lambda m, b: refine_loss(m, b, plan.bf16),
        batches(data, repeats, recipe.batch, plan, folder),
        plan,
        folder,
        evaluate=evaluate,
        evaluate_every=1000,
        title=f"stage {stage}",
    )
