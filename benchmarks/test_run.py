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
import subprocess
import sys
from importlib import resources
from pathlib import Path

from tests.rtsp import RtspCamera, need_rtsp, pictures_of

CLIP = str(resources.files("edgepose") / "assets" / "sample.mp4")
PEERS = Path(__file__).parent / "peers"
ROUNDS = int(os.environ.get("EDGEPOSE_ROUNDS", "5"))
PRESENT = str(Path(__file__).parents[1])
BEFORE = os.environ.get("EDGEPOSE_BEFORE")


PAIRS = (
    ("edgepose-run", "before"),
    ("the same, one person", "before, one person"),
    ("two clips in one process", "two clips, two processes"),
)


def start(command: list[str], package: str = PRESENT) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": package}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, float]:
    """Output of a process and its peak resident memory in MB."""
    assert process.stdout is not None
    with process:
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return text, usage.ru_maxrss / 1024


def measured(command: list[str]) -> tuple[str, float]:
    return finish(start(command))


def edgepose_run(
    folder: Path, *options: str, package: str = PRESENT, processes: int = 1, sources: int = 1
) -> tuple[int, float, float]:
    """Frames with persons, frames a second and MB of all processes, each over ``sources`` clips."""
    running, outs = [], []
    for number in range(processes):
        outs.append(folder / f"poses{number}.jsonl")
        program = [sys.executable, "-m", "edgepose.cli.run", "--json", str(outs[-1])]
        program += ["--source", "sample"] * sources
        running.append(start([*program, *options], package))
    done = [finish(process) for process in running]
    rates = [re.search(r"([\d.]+) FPS", text) for text, _ in done]
    fps = sum(float(rate[1]) for rate in rates if rate)
    lines = [line for out in outs for line in out.read_text().splitlines()[1:]]
    found = sum('"persons":[]' not in line for line in lines)
    return found, fps, sum(memory for _, memory in done)


def peer(python: str, script: str) -> tuple[int, float, float]:
    text, memory = measured([python, str(PEERS / script), CLIP])
    found, fps = text.split()
    return int(found), float(fps), memory


def test_run_beside_peers(benchmark, tmp_path, capsys) -> None:
    contestants = {
        "edgepose-run": lambda: edgepose_run(tmp_path),
        "the same, one person": lambda: edgepose_run(tmp_path, "--max-persons", "1"),
        "two clips in one process": lambda: edgepose_run(tmp_path, sources=2),
        "two clips, two processes": lambda: edgepose_run(tmp_path, processes=2),
        "OpenCV, decoding only": lambda: peer(sys.executable, "decode.py"),
    }
    if BEFORE is not None:
        contestants |= {
            "before": lambda: edgepose_run(tmp_path, package=str(BEFORE)),
            "before, one person": lambda: edgepose_run(
                tmp_path, "--max-persons", "1", package=str(BEFORE)
            ),
        }
    if "EDGEPOSE_PEERS" in os.environ:
        python = os.environ["EDGEPOSE_PEERS"]
        contestants["MediaPipe Pose full"] = lambda: peer(python, "mediapipe_pose.py")
    runs: dict[str, list[tuple[int, float, float]]] = {name: [] for name in contestants}

    def once() -> None:
        for name, contestant in contestants.items():
            runs[name].append(contestant())

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    with capsys.disabled():
        print()
        for name, results in runs.items():
            found, fps, memory = (statistics.median(c) for c in zip(*results[1:], strict=True))
            ratio = statistics.median(
                ours[1] / other[1]
                for ours, other in zip(runs["edgepose-run"][1:], results[1:], strict=True)
            )
            benchmark.extra_info[name] = {"fps": fps, "MB": memory, "frames": found}
            print(f"{name:24} {fps:7.1f} FPS {memory:6.0f} MB   ours is {ratio:.2f} x")
        for ours, other in PAIRS:
            if other in runs:
                pairs = zip(runs[ours][1:], runs[other][1:], strict=True)
                ratio = statistics.median(a[1] / b[1] for a, b in pairs)
                benchmark.extra_info[f"{ours} / {other}"] = ratio
                print(f"{ours} is {ratio:.2f} x {other}")
    assert all(found >= 95 for found, _, _ in runs["edgepose-run"])
    assert all(found >= 190 for found, _, _ in runs["two clips in one process"])


def test_live_age(benchmark, tmp_path, capsys) -> None:
    """How old a live frame is when its outputs are done, from an RTSP server; ours and before."""
    need_rtsp()
    pictures = pictures_of(Path(CLIP), tmp_path / "pictures", (360, 640))
    packages = {"ours": PRESENT, **({"before": BEFORE} if BEFORE else {})}
    ages: dict[str, list[tuple[float, float]]] = {name: [] for name in packages}

    def age(url: str, package: str) -> tuple[float, float]:
        program = [sys.executable, "-m", "edgepose.cli.run", "--source", url]
        text, _ = finish(start([*program, "--max-frames", "150"], package))
        row = re.search(r"^frame age +([\d.]+) +[\d.]+ +([\d.]+)", text, re.MULTILINE)
        assert row, text
        return float(row[1]), float(row[2])

    with RtspCamera(pictures) as camera:

        def once() -> None:
            for name, package in packages.items():
                ages[name].append(age(camera.url, package))

        benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    with capsys.disabled():
        print()
        for name, rows in ages.items():
            p50, p99 = (statistics.median(column) for column in zip(*rows[1:], strict=True))
            benchmark.extra_info[name] = {"p50 ms": p50, "p99 ms": p99}
            print(f"frame age, {name:8} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
    assert all(p99 > 0 for rows in ages.values() for _, p99 in rows)
