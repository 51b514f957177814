"""Checkpoints: written whole or not at all, so that a kill at any moment loses no earlier one.

The file is safetensors': tensors by number, and in its metadata, as JSON under "state", the tree
that they hang in. Reading one runs no code, whoever wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edgepose.errors import TrainingError
from edgepose.files import write_whole

SUFFIX = ".safetensors"
OLD_SUFFIX = ".pt"  # torch's zip, written until 0.2


def existing(path: Path) -> Path | None:
    """The checkpoint that stands at ``path``, or beside it in the old format; None without one."""
    return next((p for p in (path, path.with_suffix(OLD_SUFFIX)) if p.exists()), None)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, see :func:`existing`; TrainingError if it is missing or damaged."""
    found = existing(path)
    if found is None:
        raise TrainingError(f"there is no checkpoint {path}; train that part first")
    try:
        with found.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        return _read_old(found) if is_zip else _read(found)
    except (
        *(OSError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError),
        *(UnpicklingError, SafetensorError, RecursionError),
    ) as error:
        raise TrainingError(
            f"checkpoint {found} is damaged; put a copy back, or remove it to train that part anew"
        ) from error


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state``: tensors, numbers, strings and None in dicts and lists of any depth.

    Raises TrainingError, and the last checkpoint stays, if the disk does not take it.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_packed(state, tensors, {}))
    try:
        write_whole(path, save(tensors, {"state": tree}))
    except OSError as error:
        raise TrainingError(
            f"cannot write {path} ({error.strerror}); make room and start the same command again, "
            "it goes on from the last checkpoint"
        ) from error


def averaged(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, those that ship; TrainingError if it has none."""
    state = load_checkpoint(path)
    if "ema" not in state:
        raise TrainingError(f"{path} is no checkpoint of edgepose-train; choose another file")
    weights: dict[str, Tensor] = state["ema"]
    return weights


def _packed(value: Any, tensors: dict[str, Tensor], names: dict[Any, str]) -> Any:
    """``value`` as JSON can hold it; its tensors go to ``tensors``. Keys keep their type.

    ``names``: of the tensors so far, by their memory: what is shared is written once.
    """
    if isinstance(value, Tensor):
        memory = (value.data_ptr(), value.dtype, value.shape, value.stride(), str(value.device))
        value = value.detach().cpu()
        name = names.setdefault(memory if value.numel() else len(tensors), str(len(tensors)))
        tensors[name] = value.contiguous()
        # The optimiser's kernels want its averages in the order of the weights that they go with.
        wide = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
        return {"tensor": name, "channels_last": wide and not value.is_contiguous()}
    if isinstance(value, dict):
        return {"dict": [[key, _packed(item, tensors, names)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_packed(item, tensors, names) for item in value]
    return value


def _read(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:

        def unpacked(value: Any) -> Any:
            if isinstance(value, list):
                return [unpacked(item) for item in value]
            if not isinstance(value, dict):
                return value
            if "dict" in value:
                return {key: unpacked(item) for key, item in value["dict"]}
            tensor = file.get_tensor(value["tensor"])
            last = value["channels_last"]
            return tensor.contiguous(memory_format=torch.channels_last) if last else tensor

        state: dict[str, Any] = dict(unpacked(json.loads(file.metadata()["state"])))
        return state


def _read_old(path: Path) -> dict[str, Any]:
    """Torch's format; of its pickle only tensors and plain containers are let through."""
    state: dict[str, Any] = dict(torch.load(path, map_location="cpu", weights_only=True))
    return state
