"""The training loop that every network shares: schedule, averaging, checkpoints, resuming."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgepose.errors import DataError, TrainingError
from edgepose.train.checkpoints import SUFFIX, existing, load_checkpoint, save_checkpoint
from edgepose.train.distributed import LOST, Processes, lost
from edgepose.train.journal import Journal
from edgepose.train.optimiser import Ema, learning_rate, make_optimiser
from edgepose.train.recipe import OptimiserRecipe

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
Precision = Literal["float32", "bf16", "fp16"]
_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Plan:
    """How long and how to train.

    ``steps`` optimiser steps in all; ``minutes`` (0: no limit) cuts the schedule by wall time, so
    that a run on a busy machine still anneals. ``precision`` is that of the forward pass;
    ``events`` writes TensorBoard's.
    """

    steps: int
    minutes: float = 0.0
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    precision: Precision = "float32"
    seed: int = 0
    save_every: int = 250
    evaluate_every: int = 1000
    events: bool = False
    processes: Processes = field(default_factory=Processes)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The forward pass in the plan's precision."""
        kind = _TYPES[self.precision]
        with torch.autocast(self.processes.device.type, kind, enabled=kind != torch.float32):
            yield


def best_precision() -> Precision:
    """bf16 where the processor computes in it, else float32: emulated, it is many times slower."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "float32"


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


class _Run:
    """What changes while a network trains, and what a checkpoint holds."""

    def __init__(self, model: nn.Module, plan: Plan, path: Path) -> None:
        self.model, self.plan, self.path = model, plan, path
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = make_optimiser(model, plan.optimiser)
        self.ema = Ema(model, plan.optimiser.ema)
        self.scaler = torch.amp.GradScaler(
            plan.processes.device.type, enabled=plan.precision == "fp16"
        )
        self.step, self.saved, spent = 0, 0, 0.0
        if existing(path) is not None:
            spent = self._load()
        self._started = time.monotonic() - spent
        self.wrapped = plan.processes.wrap(model)

    def _load(self) -> float:
        state = load_checkpoint(self.path)
        try:
            self.model.load_state_dict(state["model"])
            self.ema.model.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state.get("scaler", {}))
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{self.path} belongs to another network; remove it or choose another --out"
            ) from error
        self.step = self.saved = int(state["step"])
        return float(state["spent"])

    def save(self) -> None:
        """Write the checkpoint, in the main process."""
        if self.plan.processes.main and self.saved != self.step:
            state: dict[str, Any] = {
                "model": self.model.state_dict(),
                "ema": self.ema.model.state_dict(),
            }
            state |= {"optimiser": self.optimiser.state_dict(), "step": self.step}
            state |= {"scaler": self.scaler.state_dict(), "spent": self.elapsed}
            save_checkpoint(self.path, state)
        self.saved = self.step

    @property
    def elapsed(self) -> float:
        """Seconds of training, earlier runs included."""
        return time.monotonic() - self._started

    def fraction(self) -> float:
        """How much of the schedule is done, alike in all processes."""
        done, minutes = self.step / self.plan.steps, self.plan.minutes
        if minutes:
            done = max(done, self.plan.processes.agreed(self.elapsed / (60 * minutes)))
        return min(1.0, done)

    def advance(self, loss: Loss, batch: Batch, fraction: float) -> dict[str, float]:
        """One optimiser step; gives the terms of the loss, averaged over the processes."""
        plan = self.plan
        # Drawn anew from the step: dropout is the same after a resume.
        seed = (plan.seed * 1_000_003 + self.step) * plan.processes.count + plan.processes.rank
        torch.manual_seed(seed)
        rate = learning_rate(plan.optimiser, self.step, fraction)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["pace"]
        terms = loss(self.wrapped, batch)
        means = plan.processes.mean(torch.stack([v.detach().float() for v in terms.values()]))
        named = dict(zip(terms, means.tolist(), strict=True))
        if not math.isfinite(named["loss"]):
            raise TrainingError(
                f"the loss is not finite at step {self.step}; the checkpoint of step {self.saved} "
                "is kept: lower the recipe's lr and start the same command again"
            )
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(terms["loss"]).backward()  # type: ignore[no-untyped-call]
        if plan.optimiser.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.parameters, plan.optimiser.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        plan.processes.average_buffers(self.model)
        self.ema.update(self.model, self.step)
        return named


def train(
    model: nn.Module,
    loss: Loss,
    batches: Callable[[int], Iterable[Batch]],
    plan: Plan,
    folder: Path,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    title: str = "train",
    until: float = 1.0,
) -> nn.Module:
    """Train ``model`` and return its average in eval mode.

    ``loss(model, batch)`` gives named terms, ``"loss"`` being the one to descend;
    ``batches(step)`` gives this process's endless batches from a step on. Writes
    ``folder/checkpoint.safetensors`` (resumed from, if present) and the journal, see
    :mod:`edgepose.train.journal`. Stops when ``until`` of the schedule is done. Raises
    TrainingError, the last checkpoint kept, when the loss is not finite, memory or disk is full, or
    another process is lost.
    """
    keep_heap()
    processes = plan.processes
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    run = _Run(model.to(processes.device), plan, folder / f"checkpoint{SUFFIX}")
    model.train()
    journal = Journal(folder if processes.main else None, title, run.step, plan.events)
    with journal, _mended(run):

        def measure() -> None:
            if evaluate is not None and processes.main:
                journal.evaluation(run.step, run.elapsed / 60, evaluate(run.ema.model))

        fraction = run.fraction()
        for batch in batches(run.step) if fraction < until else ():
            batch = {name: value.to(processes.device) for name, value in batch.items()}
            terms = run.advance(loss, batch, fraction)
            journal.step(run.step, fraction, run.elapsed / 60, terms)
            if run.step % plan.save_every == 0:
                run.save()
            if run.step % plan.evaluate_every == 0:
                measure()
            fraction = run.fraction()
            if fraction >= until:
                break
        else:
            if fraction < until:
                raise DataError("the data ran out before the training was done")
        run.save()
        measure()
    return run.ema.model


@contextmanager
def _mended(run: _Run) -> Iterator[None]:
    """Failures of machine and neighbours as sentences."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lost(error):
            raise TrainingError(LOST) from error
        text = str(error)
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
            sign in text for sign in ("can't allocate memory", "out of memory", "bus error")
        )
        if short or "DataLoader worker" in text:
            raise TrainingError(
                f"memory ran out at step {run.step}; the checkpoint of step {run.saved} is kept: "
                "make the recipe's batch smaller and start the same command again"
            ) from error
        raise
