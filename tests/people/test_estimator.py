"""All sources in one cascade call; the same numbers whoever is faster."""

import threading
import time

import numpy as np
import pytest

from edgepose.people.estimator import Estimator
from edgepose.people.follower import Follower, Stills
from edgepose.people.options import TrackerOptions
from edgepose.skeleton import COCO17
from tests.people.scene import SceneCascade, SceneDetector, frame
from tests.people.world import Actor, World

SIZE = (1920, 1080)


def walker(x=300.0, speed=200.0):
    return Actor(lambda t: (x + speed * t, 540.0))


def visitor(start, end):
    return Actor(lambda t: (900.0, 540.0) if start <= t < end else None)


@pytest.fixture
def estimators():
    made = []
    yield made.append
    for estimator in made:
        estimator.close()


def run(estimators, worlds, frames, exact=True, wait=0.0, options=None, smooth=True):
    """Results of ``frames`` steps of all worlds, the cascade and the detector."""
    cascade, detector = SceneCascade(worlds, wait), SceneDetector(worlds, wait)
    memories = {i: Follower(COCO17, options, smooth) for i in range(len(worlds))}
    estimator = Estimator(cascade, detector, memories, exact=exact)
    estimators(estimator)
    results = []
    for n in range(frames):
        estimator.submit([frame(n, source, SIZE) for source in range(len(worlds))])
        results.extend(estimator.results())
    results.extend(estimator.flush())
    assert [(r.index, r.source) for r in results] == [
        (n, source) for n in range(frames) for source in range(len(worlds))
    ]
    return results, cascade, detector


def persons(results):
    return [
        (r.index, r.source, p.id, p.joints.tolist(), p.score) for r in results for p in r.people
    ]


def test_the_same_numbers_whoever_is_faster(estimators):
    worlds = [World(walker(), visitor(0.3, 0.8))]
    often = TrackerOptions(detect_every=4)
    slow = run(estimators, worlds, 30, wait=0.01, options=often)[0]
    again = run(estimators, worlds, 30, wait=0.01, options=often)[0]
    quick = run(estimators, worlds, 30, options=often)[0]
    assert len(persons(quick)) > 35
    assert persons(slow) == persons(quick) == persons(again)


def test_two_stages_two_frames_in_flight_and_no_more(estimators):
    cascade = run(estimators, [World(walker())], 30, wait=0.03)[1]
    assert cascade.most == 2


def test_boxes_follow_a_quick_walker_from_stage_one(estimators):
    """The box of a frame is where the person is then, not where the last stage saw them last."""
    results, cascade, _ = run(estimators, [World(walker(speed=900), noise=0)], 45)
    centres = np.array([(boxes[0, 0] + boxes[0, 2]) / 2 for _, boxes in cascade.calls])
    truth = 300 + 900 * np.arange(45) / 30
    # Stage 1 is off by 3 pixels here; two frames of walking are 60.
    assert np.abs(centres - truth)[8:].max() < 8
    assert all([p.id for p in r.people] == [1] for r in results[3:])


def test_sources_share_a_call_and_nothing_else(estimators):
    worlds = [World(walker()), World(visitor(0, 9), walker(1500, -100)), World()]
    results, cascade, _ = run(estimators, worlds, 30)
    assert all(count == 3 for count, _ in cascade.calls)
    assert len(cascade.calls) == 30
    last = {r.source: r for r in results[-3:]}
    assert [[p.id for p in last[i].people] for i in range(3)] == [[1], [1, 2], []]
    alone = run(estimators, worlds[:1], 30)[0]
    shared = [r for r in results if r.source == 0]
    # Of two persons' boxes in one frame none is mixed up with another source's.
    for a, b in zip(alone, shared, strict=True):
        for p, q in zip(a.people, b.people, strict=True):
            np.testing.assert_allclose(p.joints, q.joints, atol=15)


def test_nobody_waits_for_the_detector_while_somebody_is_followed(estimators):
    worlds = [World(walker())]
    options = TrackerOptions(detect_every=10)
    results, _, detector = run(estimators, worlds, 35, options=options)
    assert [n for _, n in detector.looked] == [0, 10, 20, 30]
    timed = [r.index for r in results if "detect" in r.seconds]
    # The first look is waited for; the others are taken up two frames later.
    assert timed == [0, 12, 22, 32]


def test_a_newcomer_is_found_while_others_are_followed(estimators):
    worlds = [World(walker(), visitor(0.5, 9))]
    results = run(estimators, worlds, 50, options=TrackerOptions(detect_every=10))[0]
    first = next(r.index for r in results if len(r.people) == 2)
    # The look at frame 20 finds them; two frames to take it up, three poses to be sure.
    assert 22 <= first <= 26
    assert all(len(r.people) == 2 for r in results[26:])


def test_seconds_of_every_step_reach_the_result(estimators):
    first = run(estimators, [World(walker())], 1)[0][0]
    assert list(first.seconds) == ["detect", "stage 1", "stage 2", "track"]
    assert all(value >= 0 for value in first.seconds.values())


def test_live_results_come_as_soon_as_they_are_there(estimators):
    worlds, woken = [World(walker())], threading.Event()
    cascade, detector = SceneCascade(worlds), SceneDetector(worlds)
    estimator = Estimator(cascade, detector, {0: Follower(COCO17)}, exact=False, wake=woken.set)
    estimators(estimator)
    for n in range(6):
        woken.clear()
        estimator.submit([frame(n, size=SIZE)])
        assert woken.wait(5)
        assert estimator.waiting
        # No other frame had to come first.
        assert [r.index for r in estimator.results()] == [n]
    assert not estimator.waiting


def test_a_live_frame_is_taken_when_the_slowest_stage_is_free_for_it(estimators):
    worlds = [World(walker())]
    cascade = SceneCascade(worlds, wait=0.2, pace=0.5)
    estimator = Estimator(cascade, SceneDetector(worlds), {0: Follower(COCO17)}, exact=False)
    estimators(estimator)
    assert estimator.ready_at == 0
    begun = time.perf_counter()
    estimator.submit([frame(0, size=SIZE)])
    assert 0.5 <= estimator.ready_at - begun < 0.7
    estimator.flush()
    assert estimator.ready_at == 0


def test_another_size_starts_anew(estimators):
    worlds = [World(walker(speed=0))]
    estimator = Estimator(
        SceneCascade(worlds), SceneDetector(worlds), {0: Follower(COCO17)}, exact=True
    )
    estimators(estimator)
    results = []
    for n in range(40):
        estimator.submit([frame(n, size=SIZE if n < 20 else (1280, 1080))])
        results.extend(estimator.results())
    results.extend(estimator.flush())
    assert [p.id for p in results[17].people] == [1]
    # Two looks were under way when the size changed; nobody of before is seen again.
    assert all(p.id == 2 for r in results[20:] for p in r.people)
    assert [p.id for p in results[-1].people] == [2]


def test_pictures_have_nothing_to_do_with_each_other(estimators):
    worlds = [World(walker(), visitor(0, 0.05))]
    cascade, detector = SceneCascade(worlds), SceneDetector(worlds)
    estimator = Estimator(cascade, detector, {0: Stills()}, exact=True)
    estimators(estimator)
    results = []
    for n in range(4):
        estimator.submit([frame(n, size=SIZE)])
        results.extend(estimator.results())
    results.extend(estimator.flush())
    assert [[p.id for p in r.people] for r in results] == [[1, 2], [1, 2], [1], [1]]
    assert [n for _, n in detector.looked] == [0, 1, 2, 3]
    assert all("detect" in r.seconds for r in results)


@pytest.mark.parametrize("who", ["cascade", "detector"])
def test_what_goes_wrong_is_raised(estimators, who):
    worlds = [World(walker())]
    cascade, detector = SceneCascade(worlds), SceneDetector(worlds)
    if who == "cascade":
        cascade.submit = lambda *_: Broken()
    else:
        detector = broken
    estimator = Estimator(cascade, detector, {0: Follower(COCO17)}, exact=True)
    estimators(estimator)

    def go_on():
        for n in range(3):
            estimator.submit([frame(n, size=SIZE)])

    with pytest.raises(ZeroDivisionError, match="in the network"):
        go_on()


class Broken:
    def stage(self, number):
        raise ZeroDivisionError("in the network")

    def result(self):
        self.stage(1)


def broken(image):
    raise ZeroDivisionError("in the network")
