"""``edgepose-run`` as a whole beside its peers: frames per second and peak memory, interleaved.

Decoding alone and MediaPipe Pose full run on the same clip in turn with ours, so that a busy
machine slows all alike. The clip shows two persons; MediaPipe follows one. MediaPipe needs an
environment of its own; name its interpreter:

    python3 -m venv .venv-peers && .venv-peers/bin/pip install mediapipe==0.10.14
    EDGEPOSE_PEERS=.venv-peers/bin/python make bench
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from importlib import resources
from pathlib import Path

CLIP = str(resources.files("edgepose") / "assets" / "sample.mp4")
PEERS = Path(__file__).parent / "peers"
ROUNDS = 5


def measured(command: list[str]) -> tuple[str, float]:
    """Output of a process and its peak resident memory in MB."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return text, usage.ru_maxrss / 1024


def edgepose_run(folder: Path, *options: str) -> tuple[int, float, float]:
    out = folder / "poses.jsonl"
    program = [sys.executable, "-m", "edgepose.cli.run", "--source", "sample", "--json", str(out)]
    text, memory = measured([*program, *options])
    found = sum('"persons":[]' not in line for line in out.read_text().splitlines()[1:])
    match = re.search(r"([\d.]+) FPS", text)
    assert match, text
    return found, float(match[1]), memory


def peer(python: str, script: str) -> tuple[int, float, float]:
    text, memory = measured([python, str(PEERS / script), CLIP])
    found, fps = text.split()
    return int(found), float(fps), memory


def test_run_beside_peers(benchmark, tmp_path, capsys) -> None:
    contestants = {
        "edgepose-run": lambda: edgepose_run(tmp_path),
        "the same, one person": lambda: edgepose_run(tmp_path, "--max-persons", "1"),
        "OpenCV, decoding only": lambda: peer(sys.executable, "decode.py"),
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
    assert all(found >= 95 for found, _, _ in runs["edgepose-run"])
