"""Several sources in one process beside a process for each: every cascade call is shared.

    pytest benchmarks/test_sources.py -s

Calls are counted where the estimator makes them. Rates are of whole runs of ``edgepose-run``, in
turn, so that a busy machine slows all alike; the printed ratios are medians over the turns.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator

import pytest

import edgepose
from benchmarks.process import retimed
from benchmarks.runs import ROUNDS, Run, edgepose_run
from edgepose.bench.machine import machine
from edgepose.cascade.host import HostCascade
from edgepose.errors import SourceError
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Frame

FRAMES = 150


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """How many frames each call of a cascade had."""
    counted: list[int] = []
    submit = HostCascade.submit

    def counting(self, frames, boxes, frame_index):
        counted.append(len(frames))
        return submit(self, frames, boxes, frame_index)

    monkeypatch.setattr(HostCascade, "submit", counting)
    return counted


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[str]:
    """Four files of 540 x 960 at 30 frames a second: together more than there is time for."""
    folder = tmp_path_factory.mktemp("clips")
    return [str(retimed(folder / f"{n}.mp4", (540, 960), 30.0)) for n in range(4)]


def cameras(clips: list[str]) -> list[Source]:
    options = SourceOptions(live=True)
    return [edgepose.open_source(clip, options, number=n) for n, clip in enumerate(clips)]


def beside(benchmark, capsys, together, apart) -> float:
    """Prints both rates; the median ratio."""
    runs: list[tuple[Run, Run]] = []
    benchmark.pedantic(lambda: runs.append((together(), apart())), rounds=ROUNDS, warmup_rounds=1)
    ratio = statistics.median(a.fps / b.fps for a, b in runs[1:])
    work = statistics.median(a.cpu / a.fps * b.fps / b.cpu for a, b in runs[1:])
    benchmark.extra_info |= {"machine": machine(), "ratio": ratio}
    with capsys.disabled():
        for name, column in zip(
            ("one process", "side by side"), zip(*runs[1:], strict=True), strict=True
        ):
            fps, memory, cpu = (
                statistics.median(getattr(run, what) for run in column)
                for what in ("fps", "memory", "cpu")
            )
            benchmark.extra_info[name] = {"fps": fps, "MB": memory, "cpu s": cpu}
            print(f"\n{name:14} {fps:6.1f} FPS {memory:6.0f} MB {cpu:6.2f} s CPU", end="")
        print(f"\none process is {ratio:.2f} x, at {work:.2f} x the CPU time of a run")
    assert all(a.found > 0 and b.found > 0 for a, b in runs)
    return ratio


def test_two_clips(benchmark, tmp_path, capsys, calls):
    """As files: all frames of both, in step, and every call has a frame of each."""
    # A process that has held all the frames gives its size on to those that it starts.
    assert Counter(r.source for r in edgepose.stream(["sample", "sample"])) == {0: 100, 1: 100}
    assert set(calls) == {2}
    assert 95 <= len(calls) <= 100
    beside(
        benchmark,
        capsys,
        lambda: edgepose_run(tmp_path, sources=[["sample"] * 2]),
        lambda: edgepose_run(tmp_path, sources=[["sample"]] * 2),
    )


def test_four_live_files(benchmark, tmp_path, capsys, calls, clips):
    """As cameras that give more than there is time for: calls are shared by who has a frame."""
    results = Counter(r.source for r in edgepose.stream(cameras(clips)))
    assert set(results) == {0, 1, 2, 3}
    shared = sum(calls) / len(calls)
    benchmark.extra_info["frames a call"] = shared
    with capsys.disabled():
        print(
            f"\n{results.total()} results, {len(calls)} calls, {shared:.2f} frames a call", end=""
        )
    assert shared > 3
    options = ("--live", "--loop", "--max-frames", str(FRAMES))
    beside(
        benchmark,
        capsys,
        lambda: edgepose_run(tmp_path, *options, sources=[clips]),
        lambda: edgepose_run(tmp_path, *options, sources=[[clip] for clip in clips]),
    )


class Dying(Source):
    """Another source, until its cable is pulled after 30 frames."""

    def __init__(self, whole: Source) -> None:
        self._whole, self.name, self.live = whole, whole.name, True
        self.width, self.height, self.fps = whole.width, whole.height, whole.fps

    def __iter__(self) -> Iterator[Frame]:
        for _, frame in zip(range(30), self._whole, strict=False):
            yield frame
        raise SourceError("the cable was pulled")

    def close(self) -> None:
        self._whole.close()


def test_one_of_four_dies(benchmark, clips):
    """Three go on to their ends, and then its error is raised."""
    counted: Counter[int] = Counter()

    def run() -> None:
        sources = cameras(clips)
        sources[1] = Dying(sources[1])
        for result in edgepose.stream(sources):
            counted[result.source] += 1

    def until_the_end() -> None:
        with pytest.raises(SourceError, match="cable was pulled"):
            run()

    benchmark.pedantic(until_the_end, rounds=1)
    assert 0 < counted[1] <= 30
    assert all(counted[n] > counted[1] for n in (0, 2, 3))
