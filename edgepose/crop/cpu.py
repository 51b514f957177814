"""The crop kernel on the CPU: ``csrc/crop_cpu*.cpp``, arguments as of ``reference.crop``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import _core
from edgepose.crop.normalisation import Normalisation
from edgepose.errors import CropError

_KNOWN = ("avx512", "avx2", "neon", "scalar")


@dataclass(frozen=True)
class Info:
    """The kernel's paths: ``path`` is the one that runs, ``present`` what this machine has."""

    path: str
    present: tuple[str, ...]


@lru_cache(maxsize=1)
def info() -> Info:
    """Tell which path crops on the CPU: the best one there is, or the one EDGEPOSE_CPU names.

    The environment is read once per process.

    Raises:
        CropError: EDGEPOSE_CPU names a path that is unknown or that this machine cannot run.
    """
    present = tuple(_core.cpu_isas())
    path = os.environ.get("EDGEPOSE_CPU") or present[0]
    if path not in _KNOWN:
        raise CropError(f"EDGEPOSE_CPU must be one of {', '.join(_KNOWN)}, not {path!r}.")
    if path not in present:
        raise CropError(
            f"EDGEPOSE_CPU asks for {path}, but this machine runs only {', '.join(present)}."
        )
    return Info(path, present)


@lru_cache(maxsize=1)
def _isa() -> int:
    found = info()
    return found.present.index(found.path)


def crop(
    frames: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    out: NDArray[Any],
    normalisation: Normalisation,
    antialias: bool,
    threads: int,
    path: str | None = None,
) -> None:
    """Crop ``boxes[i]`` of ``frames[frame_index[i]]`` into ``out[i]``; see ``reference.crop``.

    Rows may lie at any distance, also negative; frames whose pixels or channels are not adjacent
    (a flip, a colour swap, a planar image) are copied first. ``threads`` share the boxes.
    ``path``: another of ``info().present`` than the one that runs, for a comparison.
    """
    packed = [_with_packed_rows(frame) for frame in frames]
    isa = _isa() if path is None else info().present.index(path)
    _core.crop(packed, boxes, frame_index, out, normalisation, antialias, isa, threads)


def _with_packed_rows(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, pixel, channel = frame.strides
    if channel == 1 and (pixel == 3 or frame.shape[1] == 1):
        return frame
    return np.ascontiguousarray(frame)
