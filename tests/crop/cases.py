"""10,000 random and hostile boxes with the reference's crops of them.

The host's tests take them from here; ``python -m tests.crop.cases FILE`` writes them for
``parity.cpp``, which runs where there is no Python.
"""

from __future__ import annotations

import struct
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gpu_cases import HOSTILE, STRANGE

from edgepose.crop import crop

SIZES = [1, (3, 5), (5, 7), (8, 8), (11, 16), (16, 17), (9, 20), (14, 24), (6, 40), (20, 33)]
SHAPES = [(97, 131), (120, 90), (1, 1), (1, 200), (200, 1), (48, 48), (17, 23), (2, 64)]
SCALE, MEAN, STD = 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Batch(NamedTuple):
    """One call of the kernel, and what it must give."""

    frames: list[np.ndarray]
    boxes: np.ndarray
    index: np.ndarray
    size: int | tuple[int, int]
    options: dict[str, Any]
    expected: np.ndarray


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_boxes(rng: np.random.Generator, n: int, height: int, width: int) -> np.ndarray:
    """Centres in and around the frame, sides from a hundredth of a pixel to thousands."""
    centre = rng.uniform(-0.5, 1.5, (n, 2)) * [width, height]
    side = np.exp(rng.uniform(np.log(0.01), np.log(4000), (n, 2)))
    square = rng.random(n) < 0.5
    side[square, 1] = side[square, 0]
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    grid = rng.random(n) < 0.3
    boxes[grid] = np.round(boxes[grid])
    return boxes.astype(np.float32)


def usual_boxes(rng: np.random.Generator, n: int, height: int, width: int, size) -> np.ndarray:
    """Mostly inside the frame, reduced up to seven times and enlarged up to four."""
    rows, columns = np.broadcast_to(size, 2)
    ratio = np.exp(rng.uniform(np.log(0.25), np.log(7), (n, 1)))
    ratio[rng.random(n) < 0.2] = rng.integers(1, 6)
    side = ratio * [columns, rows]
    corner = rng.uniform(-0.1, 0.9, (n, 2)) * np.maximum([width, height] - side, 1)
    grid = rng.random(n) < 0.3
    corner[grid] = np.round(corner[grid])
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


@lru_cache
def batches(per_batch: int = 500) -> list[Batch]:
    """Every size, antialiased and not; 10,000 boxes, the hostile ones in each batch."""
    rng = np.random.default_rng(1)
    frames = [noise(*shape, seed) for seed, shape in enumerate(SHAPES)]
    frames[1] = frames[1] // 128 * 255  # what rounded weights err most on
    awkward = np.array([*HOSTILE, *STRANGE], np.float32)
    result = []
    for size in SIZES:
        for antialias in (True, False):
            index = rng.integers(0, len(frames), per_batch)
            # Where there is room to lie inside, more often.
            index[rng.random(per_batch) < 0.5] = rng.integers(0, 2)
            boxes = np.concatenate(
                [
                    usual_boxes(rng, 1, *SHAPES[i], size)
                    if rng.random() < 0.6
                    else random_boxes(rng, 1, *SHAPES[i])
                    for i in index
                ]
            )
            boxes[: len(awkward)] = awkward
            border = None if rng.random() < 0.5 else (0.0, 128.0, 255.0)
            options = {
                "scale": SCALE, "mean": MEAN, "std": STD, "border": border, "antialias": antialias
            }  # fmt: skip
            expected = crop(frames, boxes, size, frame_index=index, impl="reference", **options)
            result.append(Batch(frames, boxes, index, size, options, expected))
    return result


def write(path: Path) -> None:
    """Little-endian: frames, then batches; ``parity.cpp`` reads it."""
    with path.open("wb") as file:
        all_batches = batches()
        frames = all_batches[0].frames
        file.write(struct.pack("<ii", len(frames), len(all_batches)))
        for frame in frames:
            file.write(struct.pack("<ii", *frame.shape[:2]) + frame.tobytes())
        for batch in all_batches:
            n, _, height, width = batch.expected.shape
            border = batch.options["border"]
            levels = border or [255 * m for m in MEAN]
            file.write(struct.pack("<iiii", n, height, width, batch.options["antialias"]))
            gain = [SCALE / s for s in STD]
            padding = [
                0.0 if border is None else g * v - m / s
                for g, v, m, s in zip(gain, levels, MEAN, STD, strict=True)
            ]
            file.write(struct.pack("<9f", *gain, *levels, *padding))
            file.write(batch.boxes.tobytes() + batch.index.astype("<i8").tobytes())
            file.write(batch.expected.astype("<f4").tobytes())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
