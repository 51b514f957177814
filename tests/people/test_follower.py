import types

import numpy as np
import pytest

from edgepose.api import estimator
from edgepose.geometry import person_boxes
from edgepose.people.follower import Follower, Stills
from edgepose.people.options import TrackerOptions
from edgepose.skeleton import COCO17
from tests.conftest import front_pose
from tests.people.scene import SceneCascade, SceneDetector

SIZE = (640, 480)
BOX = np.array([[200, 100, 300, 400, 0.81]], np.float32)


def poses(count, noise=0.0, score=0.64, random=None):
    """The person who stands in ``BOX``, ``count`` times, off by some pixels of noise."""
    random = random or np.random.default_rng(0)
    joints = np.stack([front_pose(BOX[0, :4])] * count) if count else np.zeros((0, 17, 2))
    joints = (joints + random.normal(0, noise, joints.shape)).astype(np.float32)
    return joints, np.full(joints.shape[:2], score, np.float32)


def test_a_person_is_followed_with_one_detection():
    follower = Follower(COCO17, TrackerOptions(detect_every=50), smooth=False)
    assert follower.idle
    for n in range(20):
        assert follower.wants_detector == (n == 0)
        boxes = follower.propose(n / 30, BOX if n == 0 else None)
        people = follower.update(n / 30, *poses(len(boxes)), SIZE)
        assert not follower.idle
    (person,) = people
    assert person.id == 1
    assert person.score == pytest.approx(0.72)
    np.testing.assert_allclose(person.box, person_boxes(person.joints), atol=1e-3)


def test_smoothing_calms_what_is_shown_but_not_what_is_followed():
    def run(smooth):
        random = np.random.default_rng(0)
        follower = Follower(COCO17, TrackerOptions(detect_every=500), smooth)
        shown, asked = [], []
        for n in range(90):
            boxes = follower.propose(n / 60, BOX if n == 0 else None)
            asked.append(boxes)
            shown.append(follower.update(n / 60, *poses(len(boxes), 2, 0.64, random), SIZE))
        return np.diff([p[0].joints for p in shown[40:]], axis=0).std(), asked

    (rough, asked), (calm, asked_too) = run(False), run(True)
    assert calm < 0.5 * rough
    np.testing.assert_array_equal(np.stack(asked), np.stack(asked_too))


def test_stills_are_found_at_once_and_best_first():
    rows = [*BOX, (400, 100, 500, 400, 0.7), (10, 100, 100, 400, 0.3), (520, 100, 600, 400, 0.5)]
    stills = Stills(TrackerOptions(max_persons=2))
    boxes = stills.propose(0.0, np.array(rows, np.float32))
    np.testing.assert_array_equal(boxes, np.array(rows[:2], np.float32)[:, :4])
    people = stills.update(0.0, *poses(2), SIZE)
    assert [p.id for p in people] == [1, 2]
    assert people[0].score > people[1].score


def test_stills_leave_out_what_the_cascade_does_not_believe():
    stills = Stills()
    stills.propose(0.0, BOX)
    assert stills.update(0.0, *poses(1, score=0.1), SIZE) == []
    assert len(stills.propose(1.0)) == 0
    assert stills.update(1.0, *poses(0), SIZE) == []


@pytest.mark.parametrize(
    ("continuous", "every", "kind"),
    [(True, None, Follower), (False, None, Stills), (False, 5, Follower)],
)
def test_loose_pictures_are_stills_unless_said_otherwise(continuous, every, kind):
    source = types.SimpleNamespace(continuous=continuous, live=False)
    made = estimator([source], SceneCascade([]), SceneDetector([]), detect_every=every)
    assert type(made._memories[0]) is kind
