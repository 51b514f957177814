"""The training loop that every network shares: schedule, EMA, checkpoints, log, progress bar."""

from __future__ import annotations

import copy
import ctypes
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from edgepose.errors import DataError, EdgeposeError
from edgepose.files import write_whole

Batch = dict[str, Tensor]


class TrainingError(EdgeposeError):
    """Training cannot go on (diverged, wrong checkpoint)."""


@dataclass
class Plan:
    """How long and how fast to train.

    ``steps`` optimiser steps in all; ``minutes`` (0: no limit) cuts the schedule by wall time, so
    that a run on a busy machine still anneals. ``lr`` peaks after ``warmup`` steps and falls to
    zero by a cosine; ``bf16`` runs forward under CPU/CUDA autocast. Parameters whose names begin
    with the model's ``slow`` (layers that start trained) learn at ``slow`` times the rate.
    """

    steps: int
    minutes: float = 0.0
    lr: float = 1e-3
    slow: float = 1.0
    weight_decay: float = 0.05
    warmup: int = 200
    clip: float = 5.0
    ema: float = 0.998
    bf16: bool = True
    seed: int = 0
    save_every: int = 250


def keep_heap() -> None:
    """Let glibc keep freed memory: page faults on fresh activations cost a third of a CPU step."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    m_mmap_max, m_trim_threshold, m_top_pad = -4, -1, -2
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
    mallopt(m_top_pad, 2**28)


class Ema:
    """Exponential moving average of a module's parameters and buffers; the copy that ships."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model``; the first steps follow it closely."""
        decay = min(self.decay, (1 + step) / (10 + step))
        source = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(source[name].to(value.dtype), 1 - decay)
            else:
                value.copy_(source[name])


def _groups(model: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """Parameters by pace, and by whether they decay (biases and the like do not)."""
    prefix: tuple[str, ...] = getattr(model, "slow", ())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            pace = plan.slow if name.startswith(prefix) else 1.0
            groups.setdefault((pace, plan.weight_decay if p.ndim > 1 else 0.0), []).append(p)
    return [
        {"params": part, "pace": pace, "weight_decay": decay}
        for (pace, decay), part in groups.items()
    ]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; TrainingError if it is missing or damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise TrainingError(f"cannot read checkpoint {path}; train that part first") from error
    return state


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    write_whole(path, lambda file: torch.save(state, file))


def train(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]],
    batches: Iterable[Batch],
    plan: Plan,
    folder: Path,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    evaluate_every: int = 0,
    title: str = "train",
    until: float = 1.0,
) -> nn.Module:
    """Train ``model`` and return its EMA in eval mode.

    ``loss(model, batch)`` gives named terms, ``"loss"`` being the one to descend. Writes
    ``folder/checkpoint.pt`` (resumed from, if present) and ``folder/log.jsonl``, one line every 50
    steps and one per evaluation. Stops when ``until`` of the schedule is done. Raises
    TrainingError naming the step if the loss is not finite.
    """
    keep_heap()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(_groups(model, plan), lr=plan.lr, fused=True)
    ema = Ema(model, plan.ema)
    step, spent = 0, 0.0
    if path.exists():
        state = load_checkpoint(path)
        try:
            model.load_state_dict(state["model"])
            ema.model.load_state_dict(state["ema"])
            optimiser.load_state_dict(state["optimiser"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{path} belongs to another network; remove it or choose another --out"
            ) from error
        step, spent = int(state["step"]), float(state["spent"])

    def progress_at(elapsed: float) -> float:
        done = step / plan.steps
        return min(1.0, max(done, elapsed / (60 * plan.minutes)) if plan.minutes else done)

    def save(elapsed: float) -> None:
        save_checkpoint(
            path,
            {
                "model": model.state_dict(),
                "ema": ema.model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "spent": elapsed,
            },
        )

    started = time.monotonic() - spent
    sums: dict[str, float] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
    )
    with (folder / "log.jsonl").open("a") as log, Progress(*columns) as bar:

        def write(line: dict[str, Any]) -> None:
            log.write(json.dumps(line) + "\n")
            log.flush()

        task = bar.add_task(title, total=1000, completed=0, info="")
        model.train()
        for batch in batches:
            elapsed = time.monotonic() - started
            fraction = progress_at(elapsed)
            if fraction >= until:
                break
            lr = (
                plan.lr
                * min(1.0, (step + 1) / plan.warmup)
                * 0.5
                * (1 + math.cos(math.pi * fraction))
            )
            for group in optimiser.param_groups:
                group["lr"] = lr * group["pace"]
            terms = loss(model, batch)
            total = terms["loss"]
            if not torch.isfinite(total):
                raise TrainingError(f"the loss is not finite at step {step}; lower --lr and resume")
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, plan.clip)
            optimiser.step()
            step += 1
            ema.update(model, step)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            bar.update(
                task,
                completed=1000 * fraction,
                info=f"step {step} loss {float(total.detach()):.4f}",
            )
            if step % 50 == 0:
                means = {name: round(value / 50, 5) for name, value in sums.items()}
                write({"step": step, "minutes": round(elapsed / 60, 2), "lr": lr, **means})
                sums = {}
            if step % plan.save_every == 0:
                save(time.monotonic() - started)
            if evaluate and evaluate_every and step % evaluate_every == 0:
                write({"step": step, "minutes": round(elapsed / 60, 2), **evaluate(ema.model)})
        else:
            raise DataError(
                "the data ran out before the training was done; this is a bug in the loader"
            )
        save(time.monotonic() - started)
        if evaluate:
            minutes = round((time.monotonic() - started) / 60, 2)
            write({"step": step, "minutes": minutes, **evaluate(ema.model)})
    return ema.model
