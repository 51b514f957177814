import time

import pytest

from edgepose.runner.statistics import Stats


def test_percentiles_order_and_rate():
    stats = Stats("clip")
    assert stats.fps == 0
    stats.start()
    for i in range(1, 101):
        seconds = {"decode": i / 1e3, "crop": 0.001, "whatever": 0.002, "stage 1": 0.003}
        stats.frame_done(0, time.perf_counter(), {**seconds, "output": 0.0}, [1, 2])
    rows = {t.stage: t for t in stats.timings()}
    # In the order of first sight: nobody knows the names beforehand.
    assert list(rows) == ["decode", "crop", "whatever", "stage 1", "output", "frame age"]
    assert rows["decode"].frames == 100
    assert rows["decode"].p50 == pytest.approx(50.5)
    assert rows["decode"].p95 == pytest.approx(95.05)
    assert rows["decode"].p99 == pytest.approx(99.01)
    assert stats.frames == 100
    assert stats.people == 2
    assert stats.fps == pytest.approx(100 / stats.elapsed)


def test_steps_that_some_frames_skip_count_their_own_frames():
    stats = Stats("clip")
    stats.start()
    for i in range(10):
        stats.frame_done(0, 0.0, {"detect": 0.01} if i % 5 == 0 else {}, [])
    rows = {t.stage: t.frames for t in stats.timings()}
    assert rows == {"detect": 2, "frame age": 10}


def test_every_source_has_its_own_ages_persons_and_drops():
    stats = Stats("left", "right")
    stats.start()
    now = time.perf_counter()
    for i in range(20):
        stats.frame_done(i % 2, now - (0.1 if i % 2 else 0.01), {}, [1])
    left, right = stats.sources
    assert (left.name, left.frames, right.frames) == ("left", 10, 10)
    assert 10 <= left.age(50) < 60
    assert 100 <= right.age(99) < 150
    assert stats.people == 2
    left.dropped, right.dropped = 3, 4
    assert stats.dropped == 7
