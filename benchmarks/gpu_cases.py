"""Random and hostile crops, and how far a result is from the definition.

Used on a GPU (``gpu_bench.py``) and, with the kernel's source on the host, in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgepose.crop import cuda, reference, reference_nv12
from edgepose.crop.normalisation import normalisation

IMAGENET = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
BOXES_PER_CASE = 50

HOSTILE = [
    [np.nan, 0, 9, 9], [0, np.nan, 9, 9], [0, 0, np.nan, 9], [0, 0, 9, np.nan],
    [-np.inf, 0, 9, 9], [0, 0, np.inf, 9], [np.inf, 0, np.inf, 9], [-np.inf, 0, np.inf, 9],
    [5, 0, 5, 9], [0, 5, 9, 5], [9, 0, 0, 9], [0, 9, 9, 0], [0, 0, 0, 0], [-0.0, 0, 0.0, 9],
    [0, 0, 3e38, 9], [-3e38, -3e38, 3e38, 3e38], [0, 0, 2**24 + 2, 9], [-(2**24) - 2, 0, 1, 9],
]  # fmt: skip
"""Boxes that nobody can crop."""

STRANGE = [
    [0, 0, 2**24, 2**24], [-(2**24), -(2**24), 2**24, 2**24], [-1e6, -3, 1e6, 4],
    [1e7, 1e7, 1e7 + 8, 1e7 + 8], [-1e7, 0, -9e6, 5], [3, 3, 3.0000002, 3.0000002],
    [0, 0, 1e-38, 1e-38], [0, 0, 1e-45, 1e-45], [-1e-45, -1e-45, 1e-45, 1e-45],
    [0, 0, 7, 1e-3], [-20, -20, 0, 0], [23, 17, 99, 99], [22.999998, 16.999998, 30, 30],
    [-0.5, -0.5, 0.5, 0.5], [0, 0, 23, 17], [-1, -1, 24, 18], [-65536, 0, 65536, 9],
    [65530, 3, 65536, 9], [0, -300, 12, 300],
]  # fmt: skip
"""Boxes that can be cropped."""

AWKWARD = np.array([*HOSTILE, *STRANGE], np.float32)


@dataclass
class Case:
    """One call: frames are BGR arrays, or pairs (Y, UV) where ``standard`` is given."""

    frames: list[Any]
    standard: str | None
    boxes: np.ndarray
    index: np.ndarray
    size: tuple[int, int]
    dtype: type
    antialias: bool
    colour: dict[str, Any] = field(default_factory=dict)


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """``count`` boxes over all layouts, sizes and formats."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, BOXES_PER_CASE):
        number = start // BOXES_PER_CASE
        n = min(BOXES_PER_CASE, count - start)
        standard = ("bt601", "bt709")[number % 2] if number % 3 == 2 else None
        frames = [frame(rng, standard is not None) for _ in range(rng.integers(1, 5))]
        index = rng.integers(0, len(frames), n)
        boxes = np.concatenate([random_box(rng, frames[i], standard) for i in index])
        hostile = rng.random(n) < 0.2
        boxes[hostile] = AWKWARD[rng.integers(0, len(AWKWARD), hostile.sum())]
        index[rng.random(n) < 0.02] = rng.choice([-1, len(frames), 2**40])  # padding
        size = tuple(int(side) for side in rng.choice([1, 2, 7, 16, 31, 32, 33, 47, 64], 2))
        colour = dict(IMAGENET) if rng.random() < 0.5 else {}
        if rng.random() < 0.5:
            colour["border"] = tuple(rng.uniform(0, 255, 3))
        dtype = (np.float32, np.float16)[number % 2 ^ number // 2 % 2]
        yield Case(frames, standard, boxes, index, size, dtype, rng.random() < 0.7, colour)


def frame(rng: np.random.Generator, nv12: bool) -> Any:
    """A frame of noise: any size, any row pitch, any alignment, upside down at times."""
    height, width = (int(side) for side in rng.choice([1, 2, 3, 17, 48, 97, 130], 2))
    if not nv12:
        return plane(rng, height, width, 3)
    height, width = height + height % 2, width + width % 2
    return plane(rng, height, width, 1)[..., 0], plane(rng, height // 2, width // 2, 2)


def plane(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    pitch = channels * width + int(rng.choice([0, 0, 1, 2, 3, 61]))
    offset = int(rng.integers(0, 4))
    # Ends with the last pixel, so that a read beyond it is found.
    size = offset + (height - 1) * pitch + channels * width
    memory = rng.integers(0, 256, size, dtype=np.uint8)
    shape, strides = (height, width, channels), (pitch, channels, 1)
    image = np.ndarray(shape, np.uint8, memory.data, offset, strides)
    return image[::-1] if rng.random() < 0.2 else image


def random_box(rng: np.random.Generator, image: Any, standard: str | None) -> np.ndarray:
    """(1, 4) float32: in and around the frame, sides from 0.01 to thousands of pixels."""
    height, width = (image if standard is None else image[0]).shape[:2]
    centre = rng.uniform(-0.3, 1.3, 2) * [width, height]
    side = np.exp(rng.uniform(np.log(0.01), np.log(2000), 2))
    if rng.random() < 0.5:  # the usual case: square, about the size of its crop
        side[:] = np.exp(rng.uniform(np.log(8), np.log(200)))
    box = np.concatenate([centre - side / 2, centre + side / 2])
    return (np.round(box) if rng.random() < 0.3 else box).astype(np.float32)[None]


def expected(case: Case) -> np.ndarray:
    """The definition's result, (n, 3, S_h, S_w) float32."""
    colour = normalisation(
        case.colour.get("scale", 1.0),
        case.colour.get("mean", (0.0, 0.0, 0.0)),
        case.colour.get("std", (1.0, 1.0, 1.0)),
        case.colour.get("border"),
    )
    out = np.empty((len(case.boxes), 3, *case.size), np.float32)
    outside = (case.index < 0) | (case.index >= len(case.frames))
    boxes = np.where(outside[:, None], np.float32(np.nan), case.boxes)
    index = np.where(outside, 0, case.index)
    arguments = (case.frames, boxes, index, out, colour, case.antialias)
    if case.standard is None:
        reference.crop(*arguments)
    else:
        reference_nv12.crop(*arguments, case.standard)
    return out


def error(case: Case, got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest error, as a multiple of the contract's tolerance."""
    gain = abs(case.colour.get("scale", 1.0) / np.array(case.colour.get("std", (1.0, 1.0, 1.0))))
    allowed = np.broadcast_to(0.02 * gain[:, None, None], wanted.shape)
    if case.dtype is np.float16:
        allowed = allowed + 1e-3 * np.abs(wanted)
    excess = np.abs(got.astype(np.float64) - wanted) / allowed
    return float(np.nan_to_num(excess, nan=np.inf).max(initial=0.0))


def run(case: Case, upload: Callable[[np.ndarray], Any], **options: Any) -> Any:
    """Run a case through ``edgepose.crop.cuda`` on what ``upload`` makes of its arrays."""
    if case.standard is None:
        frames = [upload(image) for image in case.frames]
    else:
        frames = [cuda.NV12(upload(y), upload(uv), case.standard) for y, uv in case.frames]
    return cuda.crop(
        frames,
        upload(case.boxes),
        case.size,
        frame_index=upload(case.index),
        antialias=case.antialias,
        dtype=case.dtype,
        **case.colour,
        **options,
    )
