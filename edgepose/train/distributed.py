"""Training in several processes, on one machine or many: what they share, and what ends them.

Started by ``torchrun``, each process takes its shard of every batch; gradients are averaged by
torch's DistributedDataParallel (gloo on CPUs, nccl on GPUs). It is what the paper's section 3.3
calls its distributed online implementation, on an existing engine.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgepose.errors import TrainingError

# An evaluation or an export by one process takes minutes, in which the others wait.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """This process among the ``count`` of a run; the one of rank 0 alone writes files."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Rows of a batch that this process takes; TrainingError if they do not come out even."""
        if batch % self.count:
            raise TrainingError(
                f"a batch of {batch} cannot be split over {self.count} processes; change the "
                "recipe's batch or the number of processes"
            )
        return batch // self.count

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model`` with its gradients averaged over all processes."""
        if self.count == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)

    def mean(self, value: Tensor) -> Tensor:
        """Mean of ``value`` over all processes, without gradient."""
        value = value.detach().clone()
        if self.count > 1:
            dist.all_reduce(value)
            value /= self.count
        return value

    @torch.no_grad()
    def average_buffers(self, model: nn.Module) -> None:
        """Running statistics become those of all processes, so that one average is enough."""
        floating = [b for b in model.buffers() if b.is_floating_point()]
        if self.count == 1 or not floating:
            return
        flat = self.mean(torch.cat([b.flatten() for b in floating]))
        parts = torch.split(flat, [b.numel() for b in floating])
        for buffer, part in zip(floating, parts, strict=True):
            buffer.copy_(part.view_as(buffer))

    def agreed(self, value: float) -> float:
        """The main process's ``value``."""
        if self.count == 1:
            return value
        held = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(held, 0)
        return float(held)

    def gathered(self, part: NDArray[np.float32], total: int) -> NDArray[np.float32]:
        """All rows (total, …) of which this process made every ``count``-th from its rank on."""
        if self.count == 1:
            return part
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, part)
        whole = np.empty((total, *part.shape[1:]), np.float32)
        for rank, rows in enumerate(parts):
            whole[rank :: self.count] = rows
        return whole

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            dist.barrier()


def lost(error: BaseException) -> bool:
    """Whether ``error`` tells that another process of the run is gone."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("gloo", "Connection closed", "Connection reset", "NCCL")
    )


LOST = (
    "another process of this run has ended, or it was told to end; start the same command again: "
    "it goes on from the last checkpoint"
)


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of this run: those that torchrun started, or this one alone."""
    cuda = torch.cuda.is_available()
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"the processes of this run do not find each other ({error}); start them by torchrun"
        ) from error
    # torchrun ends the others as soon as one is gone: they say so before they go.
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        yield Processes(dist.get_rank(), count, device)
    except RuntimeError as error:
        if lost(error):
            raise TrainingError(LOST) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        dist.destroy_process_group()


def _told_to_end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise TrainingError(LOST)
