"""The cascade for one person and the detector, each on a frame of the sample, two threads.

    pytest benchmarks/test_cascade.py
    EDGEPOSE_MOVENET=movenet_lightning.onnx pytest benchmarks/test_cascade.py -k peer -s

With the path of a single-input ONNX network (MoveNet Lightning's, which is not shipped here) the
second line times the whole cascade and that network alone in turn, in ONNX Runtime with the same
number of threads. Median wall times: cropping, every stage and what lies between are included.
The figures of ``edgepose-bench`` are held to plain calls, in turn as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgepose
from edgepose.backends import open_backend
from edgepose.bench.measure import Effort, network_rows
from edgepose.bundle import Bundle
from edgepose.geometry import box_iou

THREADS, TURNS = 2, 9
BOX = np.array([[230, 310, 575, 1180]], np.float32)  # the man in the first frame
PEER = os.environ.get("EDGEPOSE_MOVENET")


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    with edgepose.open_source("sample") as source:
        return next(iter(source)).image


def test_cascade_one_person(benchmark, frame):
    cascade = edgepose.load(threads=THREADS)
    poses = benchmark(cascade, frame, BOX)
    exact = edgepose.load(threads=1)(frame, BOX)
    np.testing.assert_allclose(poses.joints, exact.joints, atol=0.05)
    assert poses.scores.mean() > 0.3


def test_detector(benchmark, frame):
    boxes = benchmark(edgepose.load_detector(threads=THREADS), frame)
    assert box_iou(BOX, boxes[:, :4]).max() > 0.5


def test_edgepose_bench_says_the_same(frame, capsys):
    """Ratio of its medians to those of plain calls, the median over turns: 1 but for noise."""
    bundle, backend = Bundle(), open_backend("onnxruntime", THREADS)
    cascade = edgepose.load(backend="onnxruntime", threads=THREADS)
    detector = edgepose.load_detector(backend="onnxruntime", threads=THREADS)
    calls: dict[str, Callable[[], object]] = {
        "cascade": lambda: cascade(frame, BOX),
        "detector": lambda: detector(frame),
    }
    ratios: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        rows = network_rows(bundle, backend, THREADS, frame, Effort(seconds=0.3, rounds=5))
        said = {row.what: row.milliseconds for row in rows if row.persons == 1}
        for name, call in calls.items():
            spent = []
            for _ in range(20):
                begin = time.perf_counter()
                assert call() is not None
                spent.append(1e3 * (time.perf_counter() - begin))
            ratios[name].append(said[name] / float(np.median(spent)))
    medians = {name: float(np.median(values)) for name, values in ratios.items()}
    with capsys.disabled():
        print("\nedgepose-bench over plain calls: " + str(medians))
    assert all(0.75 < ratio < 1.33 for ratio in medians.values()), ratios


@pytest.mark.skipif(PEER is None, reason="EDGEPOSE_MOVENET names no network")
def test_peer(frame, capsys):
    network = _open(Path(str(PEER)))
    cascade = edgepose.load(threads=THREADS)
    contestants: dict[str, Callable[[], object]] = {
        "cascade": lambda: cascade(frame, BOX),
        "peer": network,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(210):
        for name, call in contestants.items():
            begin = time.perf_counter()
            assert call() is not None
            times[name].append(time.perf_counter() - begin)
    ms = {name: 1e3 * np.array(values[10:]) for name, values in times.items()}
    ratio = float(np.median(ms["cascade"] / ms["peer"]))
    with capsys.disabled():
        medians = ", ".join(f"{name} {np.median(values):.2f} ms" for name, values in ms.items())
        print(f"\n{medians}; median ratio {ratio:.2f}")


def _open(path: Path) -> Callable[[], object]:
    """A call of the network on one picture of its own size and type."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    kind = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
    shape = [side if isinstance(side, int) else 1 for side in given.shape]
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(kind[given.type])
    return lambda: session.run(None, {given.name: picture})
