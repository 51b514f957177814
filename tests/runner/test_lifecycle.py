import logging

import pytest

from edgepose.runner.lifecycle import Lifecycle, Patience, State


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_file_runs_and_ends(clock):
    life = Lifecycle("clip", live=False, clock=clock)
    assert life.state is State.OPENING
    life.frame()
    clock.now += 60  # a slow reader is no stall of a file
    assert life.state is State.RUNNING
    life.ended()
    assert life.state is State.ENDED
    assert life.over
    life.failed("too late")
    assert life.state is State.ENDED


def test_a_camera_stalls_and_goes_on(clock):
    life = Lifecycle("camera", live=True, patience=Patience(stalled=1.0), clock=clock)
    life.frame()
    clock.now += 0.9
    assert life.state is State.RUNNING
    clock.now += 0.2
    assert life.state is State.STALLED
    assert life.stalls == 1
    life.frame()
    assert life.state is State.RUNNING


def test_tries_come_later_and_later_and_a_frame_starts_anew(clock):
    patience = Patience(first=0.5, longest=8.0, jitter=0.2)
    life = Lifecycle("camera", live=True, patience=patience, clock=clock)
    life.frame()
    waits = []
    for _ in range(8):
        waits.append(life.lost("It broke."))
        assert life.state is State.RECONNECTING
        life.opening()
    for wait, expected in zip(waits, (0.5, 1, 2, 4, 8, 8, 8, 8), strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected
    assert len(set(waits[4:])) > 1
    life.frame()
    assert life.state is State.RUNNING
    assert life.reconnects == 1
    assert life.lost("Again.") <= 0.6


def test_it_is_given_up_when_asked(clock):
    life = Lifecycle("camera", live=True, patience=Patience(give_up=10), clock=clock)
    life.frame()
    clock.now += 9
    assert life.lost("It broke.") is not None
    life.opening()
    clock.now += 2
    assert life.lost("It is still gone.") is None
    assert life.state is State.FAILED
    assert life.error == "It is still gone."


def test_impossible_steps_are_refused(clock):
    life = Lifecycle("camera", live=True, clock=clock)
    life.frame()
    with pytest.raises(RuntimeError, match="from running to opening"):
        life.opening()


def test_states_are_logged_with_their_reason(clock, caplog):
    caplog.set_level(logging.INFO, "edgepose")
    life = Lifecycle("rtsp://cam/1", live=True, clock=clock)
    life.frame()
    life.lost("No answer.")
    texts = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert texts[0] == ("INFO", "source rtsp://cam/1: opening → running")
    level, text = texts[1]
    assert level == "WARNING"
    assert text.startswith("source rtsp://cam/1: running → reconnecting (No answer. Next try in ")
    assert caplog.records[1].state == "reconnecting"
