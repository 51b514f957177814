import types

import numpy as np
import pytest

from edgepose.api import estimator
from edgepose.geometry import person_boxes
from edgepose.people.follower import Follower, Stills
from edgepose.people.tracker import TrackerOptions
from tests.conftest import front_pose

FRAME = np.zeros((480, 640, 3), np.uint8)
BOX = np.array([200, 100, 300, 400, 0.81], np.float32)


class Cascade:
    """The person who stands in ``BOX``, off by some pixels of noise, whatever box is asked for."""

    def __init__(self, noise=0.0, score=0.64):
        self.random, self.noise, self.score = np.random.default_rng(0), noise, score
        self.asked = []

    def __call__(self, frame, boxes):
        assert frame is FRAME
        self.asked.append(boxes)
        joints = np.stack([front_pose(BOX[:4])] * len(boxes))
        joints += self.random.normal(0, self.noise, joints.shape).astype(np.float32)
        scores = np.full(joints.shape[:2], self.score, np.float32)
        return types.SimpleNamespace(joints=joints, scores=scores, seconds={"stage 1": 1e-6})


class Detector:
    def __init__(self, *rows):
        self.rows, self.calls = np.array(rows, np.float32).reshape(-1, 5), 0

    def __call__(self, frame):
        assert frame is FRAME
        self.calls += 1
        return self.rows


def test_a_person_is_followed_with_one_detection():
    cascade, detector = Cascade(), Detector(BOX)
    follow = Follower(cascade, detector, TrackerOptions(detect_every=50), smooth=False)
    for n in range(20):
        people, seconds = follow(FRAME, n / 30)
        assert ("detect" in seconds) == (n == 0)
        assert seconds["stage 1"] == 1e-6
        assert all(v >= 0 for v in seconds.values())
    assert detector.calls == 1
    (person,) = people
    assert person.id == 1
    assert person.score == pytest.approx(0.72)
    np.testing.assert_allclose(person.box, person_boxes(person.joints), atol=1e-3)


def test_nobody_costs_no_cascade():
    cascade = Cascade()
    people, seconds = Follower(cascade, Detector())(FRAME, 0.0)
    assert people == []
    assert list(seconds) == ["detect"]
    assert cascade.asked == []


def test_smoothing_calms_what_is_shown_but_not_what_is_followed():
    def run(smooth):
        cascade = Cascade(noise=2)
        follow = Follower(cascade, Detector(BOX), TrackerOptions(detect_every=500), smooth=smooth)
        shown = [follow(FRAME, n / 60)[0] for n in range(90)]
        return np.diff([p[0].joints for p in shown[40:]], axis=0).std(), cascade.asked

    (rough, asked), (calm, asked_too) = run(False), run(True)
    assert calm < 0.5 * rough
    np.testing.assert_array_equal(np.stack(asked), np.stack(asked_too))


def test_stills_are_found_at_once_and_best_first():
    rows = [BOX, (400, 100, 500, 400, 0.7), (10, 100, 100, 400, 0.3), (520, 100, 600, 400, 0.5)]
    cascade = Cascade()
    people, seconds = Stills(cascade, Detector(*rows), TrackerOptions(max_persons=2))(FRAME, 0.0)
    assert [p.id for p in people] == [1, 2]
    assert people[0].score > people[1].score
    np.testing.assert_array_equal(cascade.asked[0], np.array(rows[:2], np.float32)[:, :4])
    assert {"detect", "stage 1"} <= set(seconds)


def test_stills_leave_out_what_the_cascade_does_not_believe():
    people, _ = Stills(Cascade(score=0.1), Detector(BOX))(FRAME, 0.0)
    assert people == []
    people, _ = Stills(Cascade(), Detector())(FRAME, 0.0)
    assert people == []


@pytest.mark.parametrize(
    ("continuous", "every", "kind"),
    [(True, None, Follower), (False, None, Stills), (False, 5, Follower)],
)
def test_loose_pictures_are_stills_unless_said_otherwise(continuous, every, kind):
    source = types.SimpleNamespace(continuous=continuous)
    assert type(estimator(source, Cascade(), Detector(), detect_every=every)) is kind
