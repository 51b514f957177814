"""Who competes in cutting n boxes out of a 720p frame into a normalised NCHW batch, and how long.

Processor time, contestants interleaved in random order, medians of ratios, one thread each. The
heap is kept from giving memory back: in a fresh process OpenCV's temporaries would be bound by page
faults.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import cv2
import numpy as np

from edgepose.crop import cpu, crop, info

N = 14
SCALE, MEAN, STD = 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Batch = np.ndarray
Method = Callable[[np.ndarray, np.ndarray, int, Batch], object]


@contextmanager
def fair() -> Iterator[None]:
    """One OpenCV thread, and a heap that keeps its pages (glibc's mallopt)."""
    trim_threshold, mmap_threshold = -1, -3
    for parameter in (trim_threshold, mmap_threshold):
        ctypes.CDLL(None).mallopt(parameter, 10**9)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def scene(size: int, ratio: float) -> tuple[np.ndarray, np.ndarray, Batch]:
    """A smooth 720p frame, N boxes of ratio * size pixels, two over its edge, and a batch."""
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8), (0, 0), 8)
    frame = cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX)
    side = size * ratio
    centre = rng.uniform((100, 100), (1180, 620), (N, 2))
    centre[2:] = centre[2:].clip(side / 2, np.maximum((1280, 720) - np.array(side / 2), side / 2))
    centre[0], centre[1] = (10, 10), (1270, 700)
    boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    return frame, boxes.astype(np.float32), np.ones((N, 3, size, size), np.float32)


def ours(antialias: bool, path: str) -> Method:
    isa = info().present.index(path)

    def method(frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch) -> None:
        cpu._isa = lambda: isa
        crop(frame, boxes, size, scale=SCALE, mean=MEAN, std=STD, out=out, antialias=antialias)

    return method


def cut(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The box, to whole pixels, padded by the mean."""
    x0, y0, x1, y1 = (round(float(edge)) for edge in box)
    height, width = frame.shape[:2]
    part = frame[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    missing = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    if any(missing):
        bgr = [255 * level for level in MEAN[::-1]]
        part = cv2.copyMakeBorder(part, *missing, cv2.BORDER_CONSTANT, value=bgr)
    return part


def opencv_loop(frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch) -> None:
    """What one writes first."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    for i, box in enumerate(boxes):
        resized = cv2.resize(cut(frame, box), (size, size), interpolation=cv2.INTER_LINEAR)
        rgb = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
        out[i] = ((rgb.astype(np.float32) * np.float32(SCALE) - mean) / std).transpose(2, 0, 1)


TABLES = [
    ((np.arange(256) * SCALE - mean) / std).astype(np.float32)
    for mean, std in zip(MEAN, STD, strict=True)
]


@lru_cache
def buffers(size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    return np.empty((size, size, 3), np.uint8), [np.empty((size, size), np.uint8) for _ in range(3)]


def opencv_expert(
    frame: np.ndarray, boxes: np.ndarray, size: int, out: Batch, mode: int = cv2.INTER_LINEAR
) -> None:
    """Everything preallocated, colour by table, straight into the batch."""
    resized, planes = buffers(size)
    for i, box in enumerate(boxes):
        cv2.resize(cut(frame, box), (size, size), dst=resized, interpolation=mode)
        cv2.split(resized, planes)
        for c in range(3):
            cv2.LUT(planes[2 - c], TABLES[c], dst=out[i, c])


OPENCV: dict[str, Method] = {
    "loop": opencv_loop,
    "expert": opencv_expert,
    "expert area": partial(opencv_expert, mode=cv2.INTER_AREA),
}


def methods(paths: tuple[str, ...] = info().present) -> dict[str, Method]:
    """Every contestant; "plain" is ours without antialiasing, as OpenCV's INTER_LINEAR."""
    result = dict(OPENCV)
    for path in paths:
        result[path] = ours(True, path)
        result[f"{path} plain"] = ours(False, path)
    return result


def measure(size: int, ratio: float, rounds: int, entries: dict[str, Method]) -> dict[str, Batch]:
    """(rounds,) seconds of each, and of "copy": np.copyto of a whole batch."""
    frame, boxes, out = scene(size, ratio)
    other = np.ones_like(out)
    every = {**entries, "copy": lambda *_: np.copyto(out, other)}
    times: dict[str, list[float]] = {name: [] for name in every}
    order = np.random.default_rng(0)
    for turn in range(rounds + 2):
        # Whoever follows OpenCV finds colder caches than whoever follows a sibling.
        for name in order.permutation(list(every)).tolist():
            method = every[name]
            begin = time.thread_time()
            method(frame, boxes, size, out)
            if turn >= 2:
                times[name].append(time.thread_time() - begin)
    return {name: np.array(seconds) for name, seconds in times.items()}
