"""``edgepose-run`` as a whole beside its peers: frames per second and peak memory, interleaved.

Decoding alone, two clips at once in one process and in two, an earlier edgepose and MediaPipe Pose
full run in turn with ours, so that a busy machine slows all alike. The clip shows two persons;
MediaPipe follows one. MediaPipe needs an environment of its own; name its interpreter, and the
folder of a built checkout for the earlier edgepose:

    python3 -m venv .venv-peers && .venv-peers/bin/pip install mediapipe==0.10.14
    EDGEPOSE_PEERS=.venv-peers/bin/python EDGEPOSE_BEFORE=../before make bench

``EDGEPOSE_ROUNDS`` (5) turns are measured after one to warm up.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
from importlib import resources
from pathlib import Path

from benchmarks.runs import (
    BEFORE,
    PRESENT,
    ROUNDS,
    SHIPPED,
    Run,
    edgepose_run,
    finish,
    shipped_to_before,
    start,
)
from edgepose.bench.machine import machine
from tests.rtsp import RtspCamera, need_rtsp, pictures_of

CLIP = str(resources.files("edgepose") / "assets" / "sample.mp4")
PEERS = Path(__file__).parent / "peers"

ONE = ("--max-persons", "1")
PAIRS = (
    ("edgepose-run", "before"),
    ("edgepose-run", "before, its own bundle"),
    ("the same, one person", "before, one person"),
    ("the same, one person", "before, one person, its own bundle"),
    ("two clips in one process", "two clips, two processes"),
    ("edgepose-run", "MediaPipe Pose full"),
)


def peer(python: str, script: str) -> Run:
    done = finish(start([python, str(PEERS / script), CLIP]))
    found, fps = done.text.split()
    return Run(int(found), float(fps), done.memory, done.cpu)


def test_run_beside_peers(benchmark, tmp_path, capsys) -> None:
    contestants = {
        "edgepose-run": lambda: edgepose_run(tmp_path),
        "the same, one person": lambda: edgepose_run(tmp_path, *ONE),
        "two clips in one process": lambda: edgepose_run(tmp_path, sources=[["sample"] * 2]),
        "two clips, two processes": lambda: edgepose_run(tmp_path, sources=[["sample"]] * 2),
        "OpenCV, decoding only": lambda: peer(sys.executable, "decode.py"),
    }
    if BEFORE is not None:
        # The same weights, and those that it came with.
        same, package = ("--bundle", shipped_to_before(tmp_path)), str(BEFORE)
        contestants |= {
            "before": lambda: edgepose_run(tmp_path, *same, package=package),
            "before, its own bundle": lambda: edgepose_run(tmp_path, package=package),
            "before, one person": lambda: edgepose_run(tmp_path, *same, *ONE, package=package),
            "before, one person, its own bundle": lambda: edgepose_run(
                tmp_path, *ONE, package=package
            ),
        }
    if "EDGEPOSE_PEERS" in os.environ:
        python = os.environ["EDGEPOSE_PEERS"]
        contestants["MediaPipe Pose full"] = lambda: peer(python, "mediapipe_pose.py")
    benchmark.extra_info["machine"] = machine()
    runs: dict[str, list[Run]] = {name: [] for name in contestants}

    def once() -> None:
        for name, contestant in contestants.items():
            runs[name].append(contestant())

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    with capsys.disabled():
        print()
        for name, results in runs.items():
            found, fps, memory, cpu = (statistics.median(c) for c in zip(*results[1:], strict=True))
            benchmark.extra_info[name] = {"fps": fps, "MB": memory, "frames": found, "cpu s": cpu}
            print(f"{name:36} {fps:7.1f} FPS {memory:6.0f} MB {cpu:6.2f} s CPU")
        for ours, other in PAIRS:
            if other in runs:
                pairs = zip(runs[ours][1:], runs[other][1:], strict=True)
                ratio = statistics.median(a.fps / b.fps for a, b in pairs)
                benchmark.extra_info[f"{ours} / {other}"] = ratio
                print(f"{ours} is {ratio:.2f} x {other}")
    assert all(run.found >= 95 for run in runs["edgepose-run"])
    assert all(run.found >= 190 for run in runs["two clips in one process"])


def test_live_age(benchmark, tmp_path, capsys) -> None:
    """How old a live frame is when its outputs are done, from an RTSP server; ours and before."""
    need_rtsp()
    pictures = pictures_of(Path(CLIP), tmp_path / "pictures", (360, 640))
    packages = {"ours": (PRESENT, SHIPPED)}
    if BEFORE is not None:
        packages["before"] = BEFORE, shipped_to_before(tmp_path)
    ages: dict[str, list[tuple[float, float]]] = {name: [] for name in packages}

    def age(url: str, package: str, bundle: str) -> tuple[float, float]:
        program = [sys.executable, "-m", "edgepose.cli.run", "--source", url, "--bundle", bundle]
        text = finish(start([*program, "--max-frames", "600"], package)).text
        row = re.search(r"^frame age +([\d.]+) +[\d.]+ +([\d.]+)", text, re.MULTILINE)
        assert row, text
        return float(row[1]), float(row[2])

    with RtspCamera(pictures) as camera:

        def once() -> None:
            for name, package in packages.items():
                ages[name].append(age(camera.url, *package))

        benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    with capsys.disabled():
        print()
        for name, rows in ages.items():
            p50, p99 = (statistics.median(column) for column in zip(*rows[1:], strict=True))
            benchmark.extra_info[name] = {"p50 ms": p50, "p99 ms": p99}
            print(f"frame age, {name:8} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
    benchmark.extra_info["machine"] = machine()
    assert all(p99 > 0 for rows in ages.values() for _, p99 in rows)
