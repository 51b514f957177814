"""What a run costs beyond decoding, the detector and the cascade, in CPU time.

    pytest benchmarks/test_overhead.py -s

A run over the sample, again and again, less a run over its first frame, beside the same frames
decoded, looked at and estimated alone, in turn. Interpreter, imports and loading are in both runs
and so in neither figure. On one core, where nothing else slows a thread down, that is what the run
adds; on all cores a run also pays for its threads sharing caches, memory and the interpreter.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from pathlib import Path

import pytest

from benchmarks.runs import ROUNDS, finish, start
from edgepose.bench.machine import machine

FRAMES = 400
# By the cores there are (None: all).
MOST = {1: 1.15, None: 1.35}


def run(folder: Path, persons: int, frames: int) -> tuple[float, int, float]:
    """CPU seconds, runs of the detector, and persons a frame."""
    out = folder / "poses.jsonl"
    done = finish(
        start(
            [
                *(sys.executable, "-m", "edgepose.cli.run", "--source", "sample", "--loop"),
                *("--max-frames", str(frames), "--max-persons", str(persons), "--json", str(out)),
            ]
        )
    )
    looks = re.search(r"^detect +[\d.]+ +[\d.]+ +[\d.]+ +(\d+)", done.text, re.MULTILINE)
    assert looks, done.text
    lines = out.read_text().splitlines()[1:]
    assert len(lines) == frames
    return done.cpu, int(looks[1]), out.read_text().count('"joints":[[') / frames


@pytest.fixture(params=MOST)
def cores(request):
    """What this process and its children may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: request.param])
    yield request.param
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("persons", [1, 2])
def test_overhead(benchmark, tmp_path, capsys, cores, persons):
    ratios = []

    def once() -> None:
        begin, first, _ = run(tmp_path, persons, 1)
        whole, looks, seen = run(tmp_path, persons, FRAMES)
        alone = [sys.executable, "-m", "benchmarks.alone", "sample", str(persons), "200"]
        cost = json.loads(finish(start(alone)).text)
        # Persons are estimated before they are shown: nearly all of the frames have them all.
        assert seen > 0.9 * persons
        needed = (FRAMES - 1) * (cost["decode"] + cost["cascade"]) / 1e3
        needed += (looks - first) * cost["detector"] / 1e3
        ratios.append((whole - begin) / needed)
        benchmark.extra_info |= {
            "run, ms a frame": (whole - begin) / (FRAMES - 1) * 1e3,
            "alone, ms a frame": needed / (FRAMES - 1) * 1e3,
            **cost,
        }

    benchmark.pedantic(once, rounds=ROUNDS)
    ratio = statistics.median(ratios)
    benchmark.extra_info |= {"machine": machine(), "ratio": ratio}
    with capsys.disabled():
        where = "all cores" if cores is None else "one core"
        print(f"\n{persons} persons, {where}: {ratio:.2f} x its parts ({sorted(ratios)})")
    assert ratio <= MOST[cores]
