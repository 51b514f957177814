import contextlib
import threading
import time

import numpy as np
import pytest

from edgepose.runner.channel import EndOfStreamError
from edgepose.runner.collect import Collector
from edgepose.runner.policy import ALL, LATEST, parse_policy
from edgepose.types import Frame

IMAGE = np.zeros((4, 4, 3), np.uint8)


def frame(index, source=0, age=0.0):
    return Frame(IMAGE, index, index / 30, time.perf_counter() - age, source)


def drain(collector):
    steps = []
    with contextlib.suppress(EndOfStreamError):
        while True:
            steps.append([(f.source, f.index) for f in collector.get()])
    return steps


def test_files_move_in_step_however_late_one_is_and_lose_nothing():
    collector = Collector([(ALL, False)] * 2)

    def read(source, frames, pause):
        for n in range(frames):
            time.sleep(pause)
            assert collector.put(frame(n, source))
        collector.end(source)

    threads = [
        threading.Thread(target=read, args=arguments) for arguments in ((0, 8, 0.0), (1, 5, 0.01))
    ]
    for thread in threads:
        thread.start()
    steps = drain(collector)
    for thread in threads:
        thread.join(5)
    assert steps == [[(0, n), (1, n)] for n in range(5)] + [[(0, n)] for n in range(5, 8)]
    assert collector.dropped(0) == collector.dropped(1) == 0


def test_the_newest_live_frames_come_together():
    collector = Collector([(LATEST, True)] * 3)
    for n in range(5):
        collector.put(frame(n, 0))
    collector.put(frame(7, 2))
    assert [(f.source, f.index) for f in collector.get()] == [(0, 4), (2, 7)]
    assert [collector.dropped(s) for s in range(3)] == [4, 0, 0]


def test_company_is_waited_for_shortly():
    collector = Collector([(LATEST, True)] * 2, window=0.3)
    collector.put(frame(0, 0))
    late = threading.Timer(0.05, lambda: collector.put(frame(0, 1)))
    late.start()
    assert len(collector.get()) == 2
    begun = time.perf_counter()
    collector.put(frame(1, 0))
    assert len(collector.get()) == 1
    assert 0.3 <= time.perf_counter() - begun < 2
    # Whoever has ended is not waited for.
    collector.end(1)
    begun = time.perf_counter()
    collector.put(frame(2, 0))
    assert len(collector.get()) == 1
    assert time.perf_counter() - begun < 0.25


def test_a_live_source_does_not_hold_up_a_file_nor_the_other_way_round():
    collector = Collector([(ALL, False), (LATEST, True)])
    collector.put(frame(0, 0))
    assert [f.source for f in collector.get()] == [0]
    collector.put(frame(0, 1))
    assert [f.source for f in collector.get()] == [1]


def test_a_frame_is_taken_when_there_is_time_for_it_and_newer_ones_replace_it():
    collector = Collector([(LATEST, True)])
    ready = time.perf_counter() + 0.1
    collector.put(frame(0))
    threading.Timer(0.03, lambda: collector.put(frame(1))).start()
    assert [f.index for f in collector.get(lambda: ready)] == [1]
    assert time.perf_counter() >= ready
    assert collector.dropped(0) == 1


def test_max_age_forgets_what_is_too_old():
    collector = Collector([(parse_policy("max-age=200"), True)])
    for index, age in ((0, 0.5), (1, 0.3), (2, 0.0), (3, 0.0)):
        collector.put(frame(index, age=age))
    assert [collector.get()[0].index for _ in range(2)] == [2, 3]
    assert collector.dropped(0) == 2
    for index in range(20):
        collector.put(frame(index))
    assert collector.get()[0].index == 12  # eight wait at most
    assert collector.dropped(0) == 14


def test_all_makes_a_live_source_wait():
    collector = Collector([(ALL, True)])
    put = []

    def read():
        for n in range(6):
            collector.put(frame(n))
            put.append(n)
        collector.end(0)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.05)
    assert len(put) == 2
    assert drain(collector) == [[(0, n)] for n in range(6)]
    thread.join(5)


def test_waiting_can_be_interrupted_and_cancelled():
    collector, stop = Collector([(LATEST, True)]), threading.Event()
    threading.Timer(0.03, lambda: (stop.set(), collector.wake())).start()
    assert collector.get(interrupt=stop.is_set) == []
    collector.put(frame(0))
    collector.cancel()
    with pytest.raises(EndOfStreamError):
        collector.get()
    assert not collector.put(frame(1))


@pytest.mark.parametrize("text", ["", "newest", "max-age", "max-age=0", "max-age=x", "max-age=inf"])
def test_no_policy(text):
    with pytest.raises(ValueError, match="give latest, all, or max-age"):
        parse_policy(text)


def test_policies():
    assert parse_policy("latest") is LATEST
    assert parse_policy("all") is ALL
    assert parse_policy("max-age=250").max_age == 0.25
