"""The crop kernel against OpenCV: n boxes of one 720p frame into a normalised NCHW batch.

Two rivals: the loop one writes first, and the loop an expert writes (a look-up table for the
colour, planes written into a preallocated batch). Run with ``pytest benchmarks/test_crop.py``;
``-k ratio`` prints interleaved medians of processor time, which a busy machine skews least.
One thread each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest

from edgepose.crop import crop

N = 14
CHECKED = 5  # the first two lie over the frame's edge
SCALE, MEAN, STD = 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [64, 96]
RATIOS = [0.5, 1.0, 1.5, 2.0]

Batch = np.ndarray
Method = Callable[[np.ndarray, np.ndarray, int, Batch], Batch]


def scene(size: int, ratio: float) -> tuple[np.ndarray, np.ndarray, Batch]:
    """A smooth 720p frame, N boxes of ratio * size pixels, some over its edge, and a batch."""
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8), (0, 0), 8)
    frame = cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX)
    side = size * ratio
    centre = rng.uniform((100, 100), (1180, 620), (N, 2))
    centre[0], centre[1] = (10, 10), (1270, 700)
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    return frame, boxes.astype(np.float32), np.empty((N, 3, size, size), np.float32)


def ours(frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch) -> Batch:
    return crop(frame, boxes, size, scale=SCALE, mean=MEAN, std=STD, out=out)


def cut(frame: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Slice to whole pixels, pad by the mean and resize to (size, size, 3) BGR."""
    x0, y0, x1, y1 = (round(float(edge)) for edge in box)
    height, width = frame.shape[:2]
    part = frame[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    missing = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    if any(missing):
        bgr = [255 * level for level in MEAN[::-1]]
        part = cv2.copyMakeBorder(part, *missing, cv2.BORDER_CONSTANT, value=bgr)
    mode = cv2.INTER_AREA if x1 - x0 > size else cv2.INTER_LINEAR
    return cv2.resize(part, (size, size), interpolation=mode)


def opencv_loop(frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch) -> Batch:
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    for i, box in enumerate(boxes):
        rgb = cv2.cvtColor(cut(frame, box, size), cv2.COLOR_BGR2RGB)
        out[i] = ((rgb.astype(np.float32) * np.float32(SCALE) - mean) / std).transpose(2, 0, 1)
    return out


TABLES = [
    ((np.arange(256) * SCALE - mean) / std).astype(np.float32)
    for mean, std in zip(MEAN, STD, strict=True)
]


def opencv_expert(frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch) -> Batch:
    for i, box in enumerate(boxes):
        bgr = cv2.split(cut(frame, box, size))
        for c in range(3):
            cv2.LUT(bgr[2 - c], TABLES[c], dst=out[i, c])
    return out


METHODS: dict[str, Method] = {
    "ours": ours,
    "opencv_loop": opencv_loop,
    "opencv_expert": opencv_expert,
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@lru_cache
def exact(size: int, ratio: float) -> Batch:
    frame, boxes, _ = scene(size, ratio)
    return crop(frame, boxes[:CHECKED], size, scale=SCALE, mean=MEAN, std=STD, impl="reference")


def check(method: Method, size: int, ratio: float, got: Batch) -> None:
    """Ours to the contract's tolerance; OpenCV, on whole pixels and 8 bits, to a few levels."""
    levels = 0.02 if method is ours else 16.0
    error = np.abs(got[:CHECKED] - exact(size, ratio)) * np.array(STD)[:, None, None] / SCALE
    # Where the border meets the frame, rounding the box moves a steep edge by up to half a pixel.
    inside = slice(None) if method is ours else slice(2, None)
    assert error[inside].max() <= levels
    assert np.median(error) <= 2.0


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", METHODS)
def test_crop(benchmark, name, size, ratio):
    benchmark.group = f"crop n={N} size={size} ratio={ratio}"
    frame, boxes, out = scene(size, ratio)
    got = benchmark(METHODS[name], frame, boxes, size, out)
    check(METHODS[name], size, ratio, got)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("size", SIZES)
def test_ratio(size, ratio, capsys):
    frame, boxes, out = scene(size, ratio)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(60):
        for name, method in METHODS.items():
            begin = time.thread_time()
            method(frame, boxes, size, out)
            times[name].append(time.thread_time() - begin)
    for method in METHODS.values():
        check(method, size, ratio, method(frame, boxes, size, out))
    each = {name: 1e6 * float(np.median(t)) / N for name, t in times.items()}
    with capsys.disabled():
        print(f"\nsize {size} ratio {ratio}: ours {each['ours']:.1f} us per crop", end="")
        for name in ("opencv_loop", "opencv_expert"):
            print(f", {name} {each[name]:.1f} ({each[name] / each['ours']:.1f}x)", end="")
    assert each["ours"] < each["opencv_loop"]
