import threading
import time

import numpy as np
import pytest

from edgepose.errors import SourceError
from edgepose.runner.channel import DropPolicy
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.open import open_source
from edgepose.sources.source import Source
from edgepose.types import Frame
from tests.conftest import front_person


class Counting(Source):
    """Numbers as 4 x 4 frames; ``fails`` after so many, ``period`` seconds apart."""

    name, width, height = "counting", 4, 4

    def __init__(self, length=20, live=False, period=0.0, fails=None):
        self.length, self.live, self.period, self.fails = length, live, period, fails
        self.given = 0
        self.closed = False

    def __iter__(self):
        for i in range(self.length):
            if self.fails == i:
                raise SourceError("It broke.")
            if self.period:
                time.sleep(self.period)
            self.given += 1
            image = np.full((4, 4, 3), i % 256, np.uint8)
            yield Frame(image, i, i / 30, time.perf_counter())

    def close(self):
        self.closed = True


def nobody(frame, seconds):
    return [], {"stage 1": 0.001}


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_a_file_keeps_every_frame_however_slow_the_reader():
    source = Counting(20)
    with Pipeline(source, nobody) as pipeline:
        assert pipeline.policy is DropPolicy.NEVER
        seen = []
        for result in pipeline:
            time.sleep(0.005)
            seen.append((result.index, int(result.frame[0, 0, 0])))
    assert seen == [(i, i) for i in range(20)]
    assert pipeline.stats.frames == 20
    assert pipeline.stats.dropped == 0


def test_few_frames_wait_at_a_time():
    source = Counting(100)
    with Pipeline(source, nobody, depth=2) as pipeline:
        for result in pipeline:
            time.sleep(0.002)
            # Being made, waiting twice two, being estimated, and the one in hand.
            assert source.given - result.index <= 8


def test_a_live_source_gives_the_newest_and_counts_what_it_drops():
    source = Counting(60, live=True, period=0.004)

    def slow(frame, seconds):
        time.sleep(0.03)
        return nobody(frame, seconds)

    with Pipeline(source, slow) as pipeline:
        assert pipeline.policy is DropPolicy.OLDEST
        indices = [result.index for result in pipeline]
    assert indices == sorted(indices)
    assert len(indices) < 40
    assert indices[-1] == 59
    assert pipeline.stats.dropped == 60 - len(indices)
    ages = {t.stage: t for t in pipeline.stats.timings()}["frame age"]
    # One frame is being estimated and one waits: nothing gets old.
    assert ages.p95 < 150


def test_results_carry_persons_times_and_stages():
    person = front_person((0, 0, 4, 4))
    with Pipeline(Counting(3), lambda f, s: ([person], {"stage 1": 0.5})) as pipeline:
        results = list(pipeline)
    assert [r.time for r in results] == [0, 1 / 30, 2 / 30]
    assert results[0].people == [person]
    assert results[0].seconds["stage 1"] == 0.5
    assert {"decode", "stage 1", "output"} <= set(results[0].seconds)
    assert pipeline.stats.people == {1}


def test_an_error_of_the_source_comes_after_its_results():
    seen = []
    with (
        pytest.raises(SourceError, match="It broke"),
        Pipeline(Counting(9, fails=5), nobody) as run,
    ):
        seen.extend(r.index for r in run)
    # extend() is cut off by the error; the statistics know what was given.
    assert run.stats.frames == 5


def test_an_error_of_the_estimator_reaches_the_caller():
    def fails(frame, seconds):
        if frame[0, 0, 0] == 3:
            raise ZeroDivisionError("in the network")
        return nobody(frame, seconds)

    with Pipeline(Counting(), fails) as run:
        results = iter(run)
        assert [next(results).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError, match="in the network"):
            next(results)


def test_an_error_of_the_reader_stops_the_threads():
    pipeline = Pipeline(Counting(1000, period=0.001), nobody)

    def read():
        with pipeline:
            for _ in pipeline:
                raise KeyError("output")

    with pytest.raises(KeyError):
        read()
    assert not pipeline.reading


def test_stop_lets_what_is_on_its_way_arrive():
    source = Counting(10_000, period=0.001)
    indices = []
    with Pipeline(source, nobody) as pipeline:
        for result in pipeline:
            indices.append(result.index)
            if result.index == 5:
                pipeline.stop()
    assert indices == list(range(len(indices)))
    assert 6 <= len(indices) <= 15


@pytest.mark.parametrize("live", [False, True])
def test_max_frames(live):
    source = Counting(500, live=live, period=0.001)
    with Pipeline(source, nobody, max_frames=7) as pipeline:
        assert len(list(pipeline)) == 7
    assert source.given < 60


def test_a_source_that_hangs_does_not_hang_the_run():
    release = threading.Event()

    class Hanging(Counting):
        def __iter__(self):
            yield from super().__iter__()
            release.wait(20)

    try:
        begun = time.monotonic()
        with Pipeline(Hanging(2), nobody) as pipeline:
            for result in pipeline:
                if result.index == 1:
                    pipeline.stop()
            assert pipeline.reading
        assert time.monotonic() - begun < 8
    finally:
        release.set()


def test_closing_early_or_never_starting_is_safe(clip):
    Pipeline(Counting(), nobody).close()
    with open_source(clip) as source, Pipeline(source, nobody) as pipeline:
        assert next(iter(pipeline)).index == 0
    assert not pipeline.reading
