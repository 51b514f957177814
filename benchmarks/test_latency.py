"""Where the time of a frame goes: stages, crops, cascades of 1 to 16 persons, the whole runner.

    pytest benchmarks/test_latency.py --benchmark-json=latency.json

Every backend that is there is measured, absent ones are skipped by name; every case asserts its
result against the reference, which runs on one thread. The JSON holds the machine's description.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

import edgepose
from edgepose.backends import BACKENDS, default_threads, open_backend
from edgepose.bench.machine import machine
from edgepose.bundle import Bundle
from edgepose.cascade.host import HostCascade
from edgepose.crop import crop
from edgepose.errors import BackendError
from edgepose.geometry import joint_boxes, square_boxes
from edgepose.types import Frame

PERSONS = (1, 4, 16)
STAGES = range(1, len(Bundle().manifest.stages) + 1)
BOX = np.array([230, 310, 575, 1180], np.float32)  # the man in the first frame
ROUNDS = 5


def boxes_of(persons: int) -> np.ndarray:
    """Boxes around the same man, each a little off, so that no two crops are the same."""
    moves = np.random.default_rng(0).uniform(-20, 20, (persons, 2)).astype(np.float32)
    return BOX + np.tile(moves, 2)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    with edgepose.open_source("sample") as source:
        return next(iter(source)).image


@lru_cache
def reference(persons: int) -> list[np.ndarray]:
    with edgepose.open_source("sample") as source:
        picture = next(iter(source)).image
    return edgepose.load(backend="onnxruntime", threads=1)(picture, boxes_of(persons)).stages


@lru_cache
def cascade_on(backend: str, threads: int | None = None) -> HostCascade:
    try:
        return edgepose.load(backend=backend, threads=threads)
    except BackendError as error:
        pytest.skip(f"{backend}: {error}")


@pytest.fixture(autouse=True)
def described(benchmark) -> None:
    benchmark.extra_info["machine"] = machine()


@pytest.mark.parametrize("persons", PERSONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_stage(benchmark, frame, backend, stage, persons):
    """One network alone, on crops that are there."""
    cascade = cascade_on(backend)
    crops = crops_for(cascade, frame, stage, persons)
    points, scores = benchmark(cascade.networks[stage - 1], crops)[:2]
    expected = cascade_on("onnxruntime", 1).networks[stage - 1](crops)[0]
    np.testing.assert_allclose(points, expected, atol=0.01)
    assert len(scores) == len(crops)


def crops_for(cascade: HostCascade, frame: np.ndarray, stage: int, persons: int) -> np.ndarray:
    spec, pixels = cascade.specs[stage - 1], cascade.bundle.manifest.pixels
    if stage == 1:
        boxes = square_boxes(boxes_of(persons), spec.extent)
    else:
        estimate = reference(persons)[stage - 2]
        boxes = joint_boxes(estimate, cascade.skeleton, spec.extent).reshape(-1, 4)
    return np.asarray(
        crop(frame, boxes, spec.size, scale=pixels.scale, mean=pixels.mean, std=pixels.std)
    )


@pytest.mark.parametrize("persons", PERSONS)
@pytest.mark.parametrize("stage", STAGES)
def test_crop(benchmark, frame, stage, persons):
    """The crops of one stage, one thread."""
    cascade = cascade_on("onnxruntime", 1)
    crops = benchmark(crops_for, cascade, frame, stage, persons)
    assert crops.shape[0] == persons * (1 if stage == 1 else len(cascade.skeleton))
    assert 0.1 < float(crops.std()) < 2


@pytest.mark.parametrize("persons", PERSONS)
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_cascade(benchmark, frame, backend, persons):
    """All stages of one frame, one after the other."""
    poses = benchmark(cascade_on(backend), frame, boxes_of(persons))
    np.testing.assert_allclose(poses.joints, reference(persons)[-1], atol=1)


@pytest.mark.parametrize("persons", [1, 2])
def test_threads(benchmark, frame, persons, capsys):
    """Stages one after the other against side by side, with all cores, half of them, and one.

    This decides :func:`edgepose.backends.default_threads`. All ways run in turn, so that a busy
    machine slows all alike; ratios are medians over the turns.
    """
    bundle, cores = Bundle(), len(os.sched_getaffinity(0))
    counts = sorted({1, max(1, cores // 2), cores, default_threads(2)})
    ways: dict[str, Callable[[], np.ndarray]] = {}
    for threads in counts:
        cascade = HostCascade(bundle, open_backend("onnxruntime", threads))
        ways[f"in sequence, {threads}"] = lambda c=cascade: in_sequence(c, frame, persons)
        ways[f"side by side, {threads}"] = lambda c=cascade: side_by_side(c, frame, persons)
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def turn() -> None:
        for name, way in ways.items():
            start = time.perf_counter()
            joints = way()
            seconds[name].append(time.perf_counter() - start)
            np.testing.assert_allclose(joints, reference(persons)[-1], atol=0.05)

    benchmark.pedantic(turn, rounds=ROUNDS, warmup_rounds=1)
    best = min(statistics.median(s[1:]) for n, s in seconds.items() if n.startswith("in"))
    with capsys.disabled():
        print(f"\n{persons} persons")
        for name, all_ in seconds.items():
            rate = FRAMES / statistics.median(all_[1:])
            benchmark.extra_info[name] = rate
            print(f"{name:20} {rate:7.1f} cascades/s, {rate * best / FRAMES:.2f} x in sequence")


FRAMES = 20


def in_sequence(cascade: HostCascade, frame: np.ndarray, persons: int) -> np.ndarray:
    boxes = boxes_of(persons)
    for _ in range(FRAMES):
        poses = cascade(frame, boxes)
    return poses.joints


def side_by_side(cascade: HostCascade, frame: np.ndarray, persons: int) -> np.ndarray:
    """As the estimator does: the next frame begins when stage 1 of this one is done."""
    boxes, index = boxes_of(persons), np.zeros(persons, np.int64)
    frames = [Frame(frame, 0, 0.0, 0.0)]
    pending = []
    for _ in range(FRAMES):
        if len(pending) == cascade.depth:
            pending.pop(0).result()
        pending.append(cascade.submit(frames, boxes, index))
        pending[-1].stage(1)
    return [p.result() for p in pending][-1].joints


def test_runner(benchmark, capsys):
    """The sample through ``stream``, to the last result; decoding is a part of it."""

    def run() -> list[edgepose.Result]:
        return list(edgepose.stream("sample", backend="onnxruntime", max_frames=60))

    results = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert [r.index for r in results] == list(range(60))
    assert sum(bool(r.people) for r in results) >= 50
    fps = 60 / benchmark.stats.stats.median
    benchmark.extra_info["frames a second, loading included"] = fps
    with capsys.disabled():
        print(f"\n{fps:.1f} frames/s, loading included")
