"""Training one stage of the cascade, of either kind, and running it on annotated persons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from edgepose.crop import crop
from edgepose.evaluate.metrics import pck
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.skeleton import Skeleton
from edgepose.train.augment import MEAN, STD
from edgepose.train.checkpoints import averaged
from edgepose.train.crops import HolisticCrops, Item, RefineCrops
from edgepose.train.examples import EpochSampler, Example, truth_of
from edgepose.train.heads import HEADS, LOSSES
from edgepose.train.loop import Batch, Loss, Plan, train
from edgepose.train.recipe import StageRecipe
from edgepose.train.zoo import build
from edgepose.types import Float

_ROWS = 256  # crops per call outside of training
_SHOWN = 48  # examples shown to a network that chooses which channels to start from


def stage_loss(recipe: StageRecipe, plan: Plan) -> Loss:
    """The loss of a batch of the recipe's crops: equation (4) for stage 1, (8) for later ones."""
    head, distance = HEADS[recipe.kind, recipe.head], LOSSES[recipe.loss]

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        joints: tuple[Tensor, ...] = ()
        if recipe.kind == "refine":
            batch = {name: value.flatten(0, 1) for name, value in batch.items()}
            joints = (batch["joint"],)
        crops = batch["crop"].contiguous(memory_format=torch.channels_last)
        with plan.autocast():
            output = model(crops, *joints)
        return head.terms(output.float(), batch, distance, plan.processes.mean)

    return loss


@torch.no_grad()
def predict(
    model: nn.Module,
    examples: Sequence[Example],
    skeleton: Skeleton,
    recipe: StageRecipe,
    poses: Float | None = None,
    size: int | None = None,
) -> tuple[Float, Float]:
    """Joints (n, k, 2) in pixels and how sure they are (n, k), of one stage on plain boxes.

    A refine stage starts from ``poses`` (n, k, 2). ``size``: input side, None for the one that
    ships.
    """
    head, side, k = HEADS[recipe.kind, recipe.head], size or recipe.sizes[-1], len(skeleton)
    device = next(model.parameters()).device
    rows = 1 if poses is None else k
    if poses is None:
        boxes = square_boxes(np.stack([e.box for e in examples]), recipe.extent)[:, None]
    else:
        boxes = joint_boxes(poses, skeleton, recipe.extent)
    found, sure = [], []
    step = max(1, _ROWS // rows)
    for start in range(0, len(examples), step):
        part = examples[start : start + step]
        crops = crop(
            [e.picture for e in part],
            boxes[start : start + step].reshape(-1, 4),
            side,
            frame_index=np.repeat(np.arange(len(part)), rows),
            mean=MEAN,
            std=STD,
        )
        output = head.decode(model(torch.from_numpy(crops).to(device)).float())
        found.append(output[0].cpu().numpy().reshape(-1, k, 2))
        sure.append(output[1].cpu().numpy().reshape(-1, k))
    points, mass = np.concatenate(found), np.concatenate(sure)
    if poses is None:
        return denormalise(points, boxes[:, 0]), mass
    return refine(poses, points, boxes), mass


def held_out(
    joints: Float, examples: Sequence[Example], skeleton: Skeleton, prefix: str = ""
) -> dict[str, float]:
    """PCK@0.1 and PCK@0.2 (percent) of predictions (n, k, 2) on ``examples``."""
    return {
        f"{prefix}pck{t}": round(100 * pck(joints, *truth_of(examples), skeleton, t).mean, 2)
        for t in (0.1, 0.2)
    }


def batches(
    data: Dataset[Item], repeats: Sequence[int], batch: int, plan: Plan
) -> Callable[[int], Iterator[Batch]]:
    """This process's endless batches of ``data``, from a step on; see :class:`EpochSampler`."""

    def start(step: int) -> Iterator[Batch]:
        sampler = EpochSampler(repeats, plan.seed, batch, step, plan.processes)
        loader = DataLoader(
            data, batch_size=sampler.share, sampler=sampler, num_workers=1, prefetch_factor=4
        )
        return iter(loader)

    return start


def train_stage(
    recipe: StageRecipe,
    skeleton: Skeleton,
    examples: Sequence[Example],
    repeats: Sequence[int],
    val: Mapping[str, tuple[Sequence[Example], Float | None]],
    plan: Plan,
    folder: Path,
    *,
    estimates: Float | None = None,
    earlier: Path | None = None,
    init: Path | None = None,
    title: str = "stage",
) -> nn.Module:
    """Train a stage and return its averaged network.

    ``repeats`` (n,): how often an epoch sees each example. ``val`` gives, per name, held-out
    persons and the earlier stages' estimates (n, k, 2) on them (None for stage 1). A refine stage
    learns from ``estimates`` (n, e, k, 2), see :class:`RefineCrops`. Weights start from the
    checkpoint ``init``, or from that of an ``earlier`` stage, or as the network likes. The crops
    grow through the recipe's ``sizes`` in equal shares of the time: coarse ones are several times
    cheaper and teach most of what there is to learn (progressive resizing).
    """
    torch.manual_seed(plan.seed)

    def crops_of(size: int) -> Dataset[Item]:
        if estimates is None:
            return HolisticCrops(examples, skeleton, recipe, size, plan.seed)
        return RefineCrops(examples, estimates, skeleton, recipe, size, plan.seed)

    def shown() -> Tensor:
        data, some = crops_of(recipe.sizes[-1]), np.linspace(0, len(examples) - 1, _SHOWN)
        crops = [data[0, int(i)]["crop"] for i in np.unique(some.astype(int))]
        return torch.from_numpy(np.concatenate([c.reshape(-1, *c.shape[-3:]) for c in crops]))

    model = build(recipe, len(skeleton))
    if init is not None and init.suffix != ".onnx":
        model.load_state_dict(averaged(init))
    elif earlier is not None:
        model.start_from(averaged(earlier), shown)
    else:
        model.begin(init, shown)
    model.arrange()
    trained: nn.Module = model
    for phase, size in enumerate(recipe.sizes, 1):

        def evaluate(network: nn.Module, size: int = size) -> dict[str, float]:
            scores: dict[str, float] = {"size": size}
            for name, (people, poses) in val.items():
                if poses is not None:
                    scores |= held_out(poses, people, skeleton, f"{name}_before_")
                joints, _ = predict(network, people, skeleton, recipe, poses, size)
                scores |= held_out(joints, people, skeleton, f"{name}_")
            return scores

        trained = train(
            model,
            stage_loss(recipe, plan),
            batches(crops_of(size), repeats, recipe.batch, plan),
            plan,
            folder,
            evaluate=evaluate,
            title=f"{title}, {size} px",
            until=phase / len(recipe.sizes),
        )
    return trained
