"""The crop kernel on the CPU: ``csrc/crop_cpu.cpp``, same arguments as ``reference.crop``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import _core
from edgepose.crop.reference import RGB


def crop(
    frames: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    out: NDArray[Any],
    gain: RGB,
    border: RGB,
    padding: RGB,
    antialias: bool,
) -> None:
    """Crop ``boxes[i]`` of ``frames[frame_index[i]]`` into ``out[i]``; see ``reference.crop``.

    Rows may lie at any distance, also negative; frames whose pixels or channels are not adjacent
    (a flip, a colour swap, a planar image) are copied first.
    """
    _core.crop(
        [_with_packed_rows(frame) for frame in frames],
        boxes,
        frame_index,
        out,
        gain,
        border,
        padding,
        antialias,
    )


def isa() -> str:
    """Name the instruction set in use: ``avx512``, ``avx2``, ``neon`` or ``generic``."""
    return _core.cpu_isas()[0]


def _with_packed_rows(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.strides[2] == 1 and (frame.strides[1] == 3 or frame.shape[1] == 1):
        return frame
    return np.ascontiguousarray(frame)
