"""Checkpoints: written whole or not at all, so that a kill at any moment loses no earlier one."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from edgepose.errors import TrainingError
from edgepose.files import write_whole


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; TrainingError if it is missing or damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"there is no checkpoint {path}; train that part first") from error
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise TrainingError(
            f"checkpoint {path} is damaged; put a copy back, or remove it to train that part anew"
        ) from error
    return state


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; TrainingError, and the last one stays, if the disk does not take it."""
    try:
        write_whole(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the disk may be full"
        raise TrainingError(
            f"cannot write {path} ({reason}); make room and start the same command again, it goes "
            "on from the last checkpoint"
        ) from error


def averaged(path: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint, those that ship; TrainingError if it has none."""
    state = load_checkpoint(path)
    if "ema" not in state:
        raise TrainingError(f"{path} is no checkpoint of edgepose-train; choose another file")
    weights: dict[str, torch.Tensor] = state["ema"]
    return weights
