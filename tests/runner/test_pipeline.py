import threading
import time

import pytest

from edgepose.errors import SourceError
from edgepose.runner.lifecycle import Patience
from edgepose.runner.policy import ALL, parse_policy
from edgepose.sources.open import open_source
from tests.people.scene import SceneCascade, SceneDetector, frame
from tests.people.world import Actor, World
from tests.runner.feeds import Counting, Slow, nobody, pipeline

QUICK = Patience(stalled=0.1, first=0.02, longest=0.1)


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_a_file_keeps_every_frame_however_slow_the_reader():
    with pipeline(Counting(20)) as run:
        seen = []
        for result in run:
            time.sleep(0.005)
            seen.append((result.index, int(result.frame[0, 0, 0])))
    assert seen == [(i, i) for i in range(20)]
    assert run.stats.frames == 20
    assert run.stats.dropped == 0


def test_few_frames_wait_at_a_time():
    source = Counting(100)
    with pipeline(source) as run:
        for result in run:
            time.sleep(0.002)
            # Being made, two waiting, two in flight, one in hand, two waiting to be read.
            assert source.given - result.index <= 9


def test_a_live_source_gives_the_newest_and_counts_what_it_drops():
    source = Counting(60, live=True, period=0.004)
    with pipeline(source, detector=Slow(0.03)) as run:
        results = [(result.index, list(result.seconds)) for result in run]
    indices = [index for index, _ in results]
    assert all(steps[0] == "capture" for _, steps in results)
    assert indices == sorted(indices)
    assert len(indices) < 40
    assert indices[-1] == 59
    (stats,) = run.stats.sources
    assert stats.dropped == 60 - len(indices)
    # One frame is being estimated and one waits: nothing gets old.
    assert stats.age(95) < 200
    assert stats.state == "ended"


def test_under_the_policy_all_a_live_source_drops_nothing():
    with pipeline(Counting(20, live=True), detector=Slow(0.01), policy=ALL) as run:
        assert [result.index for result in run] == list(range(20))
    assert run.stats.dropped == 0


def test_under_max_age_nothing_old_is_estimated():
    source = Counting(60, live=True, period=0.004)
    policy = parse_policy("max-age=40")
    with pipeline(source, detector=Slow(0.03), policy=policy) as run:
        indices = [result.index for result in run]
    assert run.stats.dropped == 60 - len(indices) > 20
    assert run.stats.sources[0].age(50) < 40 + 150


class Watched(Counting):
    """Frames that a made-up scene can read."""

    def __iter__(self):
        for n in range(self.length):
            yield frame(n, size=(1920, 1080))


def test_results_carry_persons_times_and_steps():
    worlds = [World(Actor(lambda t: (300 + 90 * t, 540.0)))]
    with pipeline(Watched(8), detector=SceneDetector(worlds), cascade=SceneCascade(worlds)) as run:
        results = list(run)
    assert [r.time for r in results] == [n / 30 for n in range(8)]
    assert [[p.id for p in r.people] for r in results] == [[1]] * 8
    steps = list(results[0].seconds)
    assert steps == ["decode", "detect", "stage 1", "stage 2", "track", "output"]
    assert run.stats.people == 1


def test_an_error_of_the_source_comes_after_its_results():
    seen = []

    def read(run):
        with run:
            seen.extend(r.index for r in run)

    run = pipeline(Counting(9, fails=5))
    with pytest.raises(SourceError, match="It broke"):
        read(run)
    # extend() is cut off by the error; the statistics know what was given.
    assert run.stats.frames == 5
    assert run.stats.sources[0].state == "failed"


def test_several_sources_are_told_apart_and_one_that_dies_does_not_stop_the_others():
    sources = [Counting(9, fails=3, name="bad"), Counting(12, name="good"), Counting(7)]
    seen = []

    def read(run):
        with run:
            for result in run:
                seen.append((result.source, result.index))  # noqa: PERF401 - it breaks off

    run = pipeline(*sources)
    with pytest.raises(SourceError, match="It broke"):
        read(run)
    expected = [(s, n) for n in range(12) for s, most in enumerate((3, 12, 7)) if n < most]
    assert seen == expected
    assert [s.state for s in run.stats.sources] == ["failed", "ended", "ended"]


def test_a_lost_camera_is_opened_again_and_time_runs_on():
    made = []

    def reopen():
        made.append(len(made))
        if len(made) % 2:
            raise SourceError("Not yet.")
        fails = 6 if len(made) < 4 else None
        return Counting(8, live=True, period=0.002, fails=fails, size=(8, 6))

    first = Counting(9, live=True, period=0.002, fails=4)
    with pipeline(first, reopen={0: reopen}, policy=ALL, patience=QUICK) as run:
        results = []
        for result in run:
            results.append(result)
            if len(results) == 17:
                run.stop()
    assert [r.index for r in results][:17] == list(range(17))
    times = [r.time for r in results]
    assert times == sorted(times)
    assert times[4] - times[3] > 0.02  # it was away that long
    assert results[3].frame.shape == (4, 4, 3)
    assert results[4].frame.shape == (6, 8, 3)
    assert first.closed
    assert run.stats.sources[0].reconnects == 2


def test_a_camera_that_is_given_up_fails_and_the_others_go_on():
    def reopen():
        raise SourceError("Still gone.")

    gone, there = Counting(9, live=True, fails=2), Counting(60, live=True, period=0.005)
    patience = Patience(first=0.01, longest=0.02, give_up=0.1)
    run = pipeline(gone, there, reopen={0: reopen}, patience=patience, policy=ALL)

    def read():
        with run:
            return list(run)

    with pytest.raises(SourceError, match="Still gone"):
        read()
    assert [s.frames for s in run.stats.sources] == [2, 60]
    assert [s.state for s in run.stats.sources] == ["failed", "ended"]


def test_a_stalled_camera_is_seen_and_does_not_hold_up_the_others():
    release = threading.Event()
    stalling = Counting(6, live=True, hangs=(3, release))
    states = []
    with pipeline(stalling, Counting(100, live=True, period=0.01), patience=QUICK) as run:
        for result in run:
            states.append(run.stats.sources[0].state)
            if result.source == 1 and result.index > 70:
                release.set()
    release.set()
    assert "stalled" in states
    assert run.stats.sources[0].stalls == 1
    assert run.stats.sources[0].frames == 6 - run.stats.sources[0].dropped
    assert run.stats.sources[1].frames > 50


def test_an_error_of_the_estimator_reaches_the_caller():
    def fails(image):
        if image[0, 0, 0] == 5:
            raise ZeroDivisionError("in the network")
        return nobody(image)

    with pipeline(Counting(), detector=fails) as run:
        results = iter(run)
        assert [next(results).index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError, match="in the network"):
            list(results)


def test_an_error_of_the_reader_stops_the_threads():
    run = pipeline(Counting(1000, period=0.001))

    def read():
        with run:
            for _ in run:
                raise KeyError("output")

    with pytest.raises(KeyError):
        read()
    assert not run.reading


def test_stop_lets_what_is_on_its_way_arrive():
    source = Counting(10_000, period=0.001)
    indices = []
    with pipeline(source) as run:
        for result in run:
            indices.append(result.index)
            if result.index == 5:
                run.stop()
    assert indices == list(range(len(indices)))
    assert 6 <= len(indices) <= 18


@pytest.mark.parametrize("live", [False, True])
def test_max_frames_of_every_source(live):
    sources = [Counting(500, live=live, period=0.001) for _ in range(2)]
    with pipeline(*sources, max_frames=7, policy=ALL) as run:
        assert sorted(r.source for r in run) == [0] * 7 + [1] * 7
    assert all(source.given < 60 for source in sources)


def test_a_source_that_hangs_does_not_hang_the_run():
    release = threading.Event()
    try:
        begun = time.monotonic()
        with pipeline(Counting(9, live=True, hangs=(3, release))) as run:
            for _ in run:
                run.stop()
            assert run.reading
        assert time.monotonic() - begun < 8
    finally:
        release.set()


def test_closing_early_or_never_starting_is_safe(clip):
    pipeline(Counting()).close()
    with open_source(clip) as source, pipeline(source) as run:
        assert next(iter(run)).index == 0
    assert not run.reading
