import time

import pytest

from edgepose.runner.statistics import Stats


def test_percentiles_order_and_rate():
    stats = Stats()
    assert stats.fps == 0
    stats.start()
    for i in range(1, 101):
        seconds = {"decode": i / 1e3, "crop": 0.001, "stage 2": 0.002, "stage 1": 0.003}
        stats.frame_done(time.perf_counter(), {**seconds, "output": 0.0}, [1, 2])
    rows = {t.stage: t for t in stats.timings()}
    assert list(rows) == ["decode", "stage 1", "crop", "stage 2", "output", "frame age"]
    assert rows["decode"].frames == 100
    assert rows["decode"].p50 == pytest.approx(50.5)
    assert rows["decode"].p95 == pytest.approx(95.05)
    assert rows["decode"].p99 == pytest.approx(99.01)
    assert stats.frames == 100
    assert stats.people == {1, 2}
    assert stats.fps == pytest.approx(100 / stats.elapsed)


def test_stages_that_some_frames_skip_count_their_own_frames():
    stats = Stats()
    stats.start()
    for i in range(10):
        stats.frame_done(0.0, {"detect": 0.01} if i % 5 == 0 else {}, [])
    rows = {t.stage: t.frames for t in stats.timings()}
    assert rows == {"detect": 2, "frame age": 10}
