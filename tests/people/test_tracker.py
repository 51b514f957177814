import dataclasses
import time

import numpy as np
import pytest

from edgepose.people.tracker import Tracker, TrackerOptions
from edgepose.skeleton import COCO17
from edgepose.types import Person
from tests.people.world import Actor, World, standing


def still(x, y=540.0):
    return lambda t: (x, y)


def walking(x, speed, y=540.0):
    return lambda t: (x + speed * t, y)


def who(frames):
    """For each frame {actor: id}; no actor carries two ids in one frame."""
    turned = [{actor: id for id, actor in frame.items()} for frame in frames]
    assert all(len(t) == len(f) for t, f in zip(turned, frames, strict=True))
    return turned


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_a_walker_keeps_one_id(fps):
    frames = World(Actor(walking(200, 300)), fps=fps).run(Tracker(COCO17), 4)
    assert all(f == {1: 0} for f in frames)


def test_who_is_less_plain_needs_three_poses():
    frames = World(Actor(walking(200, 300))).run(Tracker(COCO17, TrackerOptions(at_once=0.9)), 1)
    assert all(f == {} for f in frames[:2])
    assert all(f == {1: 0} for f in frames[2:])


def test_several_keep_their_ids():
    world = World(Actor(walking(200, 120)), Actor(still(900)), Actor(walking(1700, -100, 700), 300))
    turned = who(world.run(Tracker(COCO17), 3))
    assert turned[-1].keys() == {0, 1, 2}
    assert all(t == turned[-1] for t in turned[2:])


@pytest.mark.parametrize(("fps", "speed"), [(15, 80), (30, 80), (15, 330), (30, 150), (60, 330)])
@pytest.mark.parametrize("seed", range(2))
def test_who_crosses_comes_out_with_the_own_id(fps, speed, seed):
    behind = Actor(lambda t: (800 - speed * t, 560.0))
    world = World(Actor(walking(400, speed)), behind, fps=fps, seed=seed)
    frames = world.run(Tracker(COCO17), 400 / speed)
    assert frames[5] == {1: 0, 2: 1}
    assert frames[-1] == {1: 0, 2: 1}
    assert all(set(f) <= {1, 2} for f in frames)


@pytest.mark.parametrize("gap", [0.3, 0.6, 0.9])
def test_an_id_survives_a_short_loss(gap):
    def path(t):
        return None if 1 <= t < 1 + gap else (300 + 200 * t, 540.0)

    frames = World(Actor(path)).run(Tracker(COCO17), 3)
    assert frames[20] == {1: 0}
    assert frames[-1] == {1: 0}
    # Found again at most a few frames after coming back.
    back = round((1 + gap) * 30) + 6
    assert all(f == {1: 0} for f in frames[back:])


@pytest.mark.parametrize(("coloured", "gap", "id"), [(False, 2, 2), (True, 2, 1), (True, 4, 2)])
def test_who_comes_back_late_is_known_by_the_clothes(coloured, gap, id):
    """A second without, three with colours: then the id is not used again."""

    def path(t):
        return None if 1 <= t < 1 + gap else (300.0, 540.0)

    frames = World(Actor(path), coloured=coloured).run(Tracker(COCO17), 2 + gap)
    assert frames[20] == {1: 0}
    assert frames[-1] == {id: 0}


@pytest.mark.parametrize(("coloured", "id"), [(False, 1), (True, 2)])
def test_a_stranger_in_other_clothes_gets_an_id_of_the_own(coloured, id):
    first = Actor(lambda t: (300.0, 540.0) if t < 1 else None)
    stranger = Actor(lambda t: (350.0, 540.0) if t >= 1.5 else None)
    frames = World(first, stranger, coloured=coloured).run(Tracker(COCO17), 3)
    assert frames[20] == {1: 0}
    assert frames[-1] == {id: 1}


def test_nobody_is_shown_long_after_leaving():
    frames = World(Actor(lambda t: None if t >= 1 else (300.0, 540.0))).run(Tracker(COCO17), 2)
    assert all(f == {} for f in frames[30 + 6 :])


def test_walking_out_of_the_frame_and_another_walking_in():
    leaving = Actor(lambda t: (1700 + 300 * t, 540.0) if t < 1.5 else None)
    entering = Actor(lambda t: (-100 + 300 * t, 540.0) if t > 0.5 else None)
    frames = World(leaving, entering).run(Tracker(COCO17), 4)
    assert 1 in frames[10]
    assert list(frames[-1].values()) == [1]
    assert 1 not in frames[-1]


def test_a_phantom_of_the_detector_is_never_shown():
    frames = World(Actor(still(900), phantom=True), Actor(still(300))).run(Tracker(COCO17), 2)
    assert all(set(f.values()) <= {1} for f in frames)
    assert frames[-1] == {1: 1}


def test_a_faint_detection_of_one_frame_is_never_shown():
    faint = Actor(lambda t: (300.0, 540.0) if t < 0.04 else None, sure=0.6)
    frames = World(faint).run(Tracker(COCO17), 1)
    assert all(f == {} for f in frames)


def test_who_is_plain_is_shown_at_once():
    joints = standing((500, 500), 400)
    for score, shown in [(0.9, True), (0.7, True), (0.6, False)]:
        _, people = feed(Tracker(COCO17), 0.0, [[430, 300, 570, 700, score]], [joints])
        assert bool(people) == shown


def test_an_unsure_detection_must_be_seen_again():
    joints = standing((500, 500), 400)
    for score, again, shown in [(0.9, False, True), (0.5, True, True), (0.5, False, False)]:
        tracker, looked = Tracker(COCO17), []
        for n in range(8):
            rows = None
            if tracker.wants_detector():
                rows = [[430, 300, 570, 700, score]] if again or n == 0 else np.zeros((0, 5))
                looked.append(n)
            _, people = feed(tracker, n / 30, rows, [joints])
            assert n >= 2 or not people or score == 0.9
        assert bool(people) == shown
        assert looked[:2] == ([0] if score == 0.9 else [0, 2])


def test_a_good_pose_outlives_a_blind_detector_for_a_while():
    tracker, joints, shown = (
        Tracker(COCO17, TrackerOptions(trust=1.0)),
        standing((500, 500), 400),
        [],
    )
    for n in range(90):
        rows = [[430, 300, 570, 700, 0.9]] if n < 15 else np.zeros((0, 5))
        _, people = feed(tracker, n / 30, rows if tracker.wants_detector() else None, [joints])
        shown.append(bool(people))
    assert all(shown[2:30])
    assert not any(shown[60:])


def test_max_persons():
    actors = [Actor(still(150 + 220 * i)) for i in range(8)]
    frames = World(*actors).run(Tracker(COCO17, TrackerOptions(max_persons=3)), 1)
    assert max(len(f) for f in frames) == 3
    assert frames[-1].keys() == {1, 2, 3}


def test_the_detector_runs_when_it_should():
    options = TrackerOptions(detect_every=10, search_every=3)
    tracker, world = (
        Tracker(COCO17, options),
        World(Actor(lambda t: (300.0, 540.0) if 1 <= t < 2 else None)),
    )
    looked = []
    for n in range(90):
        t = n / 30
        looked.append(tracker.wants_detector())
        boxes = tracker.propose(t, world.detect(t) if looked[-1] else None)
        tracker.update(t, *world.estimate(t, boxes), world.size)
    when = np.flatnonzero(looked)
    assert when[0] == 0
    assert set(np.diff(when[when <= 30])) == {3}  # nobody there: every third frame
    assert set(np.diff(when[(when > 34) & (when < 60)])) == {10}  # all is well: every tenth
    lost = when[when > 62]
    assert lost[0] <= 60 + 7  # gone: at once (patience is 0.15 s) and often
    assert set(np.diff(lost)) <= {1, 2, 3}


def test_detect_every_frame():
    tracker, world = Tracker(COCO17, TrackerOptions(detect_every=1)), World(Actor(still(300)))
    for n in range(5):
        assert tracker.wants_detector()
        boxes = tracker.propose(n / 30, world.detect(0))
        tracker.update(n / 30, *world.estimate(0, boxes), world.size)


def feed(tracker, t, detections, joints, score=0.8):
    rows = None if detections is None else np.array(detections, np.float32)
    boxes = tracker.propose(t, rows)
    joints = np.stack(joints[: len(boxes)]) if len(boxes) else np.zeros((0, 17, 2), np.float32)
    return boxes, tracker.update(
        t, joints, np.full(joints.shape[:2], score, np.float32), (1920, 1080)
    )


def test_two_tracks_on_one_person_become_one():
    tracker = Tracker(COCO17)
    left, right = standing((500, 500), 400), standing((700, 500), 400)
    found = [[430, 300, 570, 700, 0.9], [630, 300, 770, 700, 0.8]]
    for n in range(20):
        _, people = feed(tracker, n / 30, found if n == 0 else None, [left, right])
    assert [p.id for p in people] == [1, 2]
    counts = []
    for n in range(20, 34):
        _, people = feed(tracker, n / 30, None, [left, left + 1])
        counts.append(len(people))
    assert counts[0] == 2  # persons who pass each other may be one for a moment
    assert counts[-1] == 1


def test_a_second_box_on_one_person_is_never_shown():
    tracker = Tracker(COCO17)
    joints = standing((500, 500), 400)
    # The detector sees the person once or twice, as a whole and in part.
    found = [[430, 300, 570, 700, 0.9], [450, 420, 550, 700, 0.7]]
    for n in range(60):
        rows = found[: 1 + n % 2] if tracker.wants_detector() else None
        _, people = feed(tracker, n / 30, rows, [joints, joints + 3])
        assert [p.id for p in people] == [1]


def test_the_score_combines_detector_and_pose():
    tracker = Tracker(COCO17)
    joints = standing((500, 500), 400)
    for n in range(4):
        _, people = feed(
            tracker, n / 30, [[430, 300, 570, 700, 0.9]] if n == 0 else None, [joints], 0.6
        )
    (person,) = people
    assert isinstance(person, Person)
    assert person.score == pytest.approx(np.sqrt(0.9 * 0.6), abs=1e-3)


def test_a_pose_that_is_not_finite_is_not_shown_and_not_followed():
    tracker = Tracker(COCO17)
    joints = standing((500, 500), 400)
    for n in range(5):
        feed(tracker, n / 30, [[430, 300, 570, 700, 0.9]] if n == 0 else None, [joints])
    boxes, people = feed(tracker, 5 / 30, None, [np.full_like(joints, np.nan)])
    assert people == []
    boxes, people = feed(tracker, 6 / 30, None, [joints])
    assert np.isfinite(boxes).all()
    assert [p.id for p in people] == [1]


def test_a_skeleton_without_limbs_is_followed():
    bare = dataclasses.replace(COCO17, limbs=())
    tracker = Tracker(bare, TrackerOptions(confirm=1))
    joints = np.random.default_rng(0).uniform(300, 400, (1, 17, 2)).astype(np.float32)
    box = np.array([[300, 300, 400, 400, 0.9]], np.float32)
    shown = [feed(tracker, i / 30, box if i == 0 else None, joints)[1] for i in range(4)]
    assert [[p.id for p in people] for people in shown[1:]] == [[1]] * 3


def test_a_slipped_pose_starts_again_from_the_detector():
    tracker = Tracker(COCO17)
    joints = standing((500, 500), 400)
    found = [[430, 300, 570, 700, 0.9]]
    for n in range(5):
        feed(tracker, n / 30, found if n == 0 else None, [joints])
    for n in range(5, 30):  # drifts off slowly
        feed(tracker, n / 30, None, [joints + np.float32((3 * (n - 5), 0))])
    boxes, _ = feed(tracker, 1.0, found, [joints])
    np.testing.assert_allclose(boxes[0], found[0][:4])


@pytest.mark.parametrize("rows", [[], [[5, 5, 5, 50, 0.9]], [[50, 5, 20, 50, 0.9]]])
def test_no_or_empty_detections(rows):
    tracker = Tracker(COCO17)
    boxes, people = feed(tracker, 0.0, np.array(rows).reshape(-1, 5), [])
    assert boxes.shape == (0, 4)
    assert people == []


def test_poses_must_fit_the_boxes():
    tracker = Tracker(COCO17)
    with pytest.raises(ValueError, match="0 poses were asked for"):
        tracker.update(0, np.zeros((1, 17, 2)), np.zeros((1, 17)), (10, 10))


def test_a_step_of_one_person_is_quick():
    tracker, world = Tracker(COCO17), World(Actor(walking(300, 100)))
    world.run(tracker, 0.5)
    joints = standing((350, 540), 400)[None]
    scores = np.full((1, 17), 0.8, np.float32)
    begun = time.thread_time()
    for n in range(300):
        tracker.propose(0.5 + n / 30)
        tracker.update(0.5 + n / 30, joints, scores, world.size)
    assert (time.thread_time() - begun) / 300 < 1e-3


class Haunted(World):
    """Where somebody walked out the cascade goes on to see a body, for ever and with a good score.

    That is what networks do: each gives its best guess of a person, also on an empty wall.
    """

    shrink = 1.0

    def estimate(self, t, boxes):
        joints, scores = super().estimate(t, boxes)
        for row, box in enumerate(boxes):
            if scores[row, 0] < 0.5:
                centre = np.maximum((box[:2] + box[2:]) / 2, (40, 0))
                joints[row] = standing(centre, 400 * self.shrink)
                scores[row] = 0.7
        return joints, scores


@pytest.mark.parametrize("shrink", [1.0, 0.5])
@pytest.mark.parametrize("speed", [-300, -600])
def test_who_walks_out_takes_the_skeleton_along(shrink, speed):
    def path(t):
        x = 600 + speed * t
        return (x, 540.0) if x > -20 else None

    gone = 620 / -speed
    world = Haunted(Actor(path), Actor(still(1200)), size=(1920, 1080))
    world.shrink = shrink
    frames = world.run(Tracker(COCO17, TrackerOptions(detect_every=20)), gone + 1)
    left = round(gone * 30)
    assert 0 in frames[left - 15].values()
    # Half a dozen frames for the detector to look again and find nobody there.
    assert all(list(f.values()) == [1] for f in frames[left + 7 :])


def test_a_pose_that_shrinks_at_once_is_not_believed():
    tracker, joints = Tracker(COCO17), standing((500, 500), 400)
    for n in range(10):
        feed(tracker, n / 30, [[430, 300, 570, 700, 0.9]] if n == 0 else None, [joints])
    # The box stays as large, the trunk and limbs do not: all joints but two have run together.
    small = 0.45 * (joints - joints.mean(0)) + joints.mean(0)
    small[[0, -1]] = joints[[0, -1]]
    shown = []
    for n in range(10, 20):
        _, people = feed(tracker, n / 30, None, [small.astype(np.float32)])
        shown.append(bool(people))
    assert not any(shown[5:])


def test_a_first_estimate_moves_the_next_box_and_nothing_else():
    tracker, joints = Tracker(COCO17), standing((500, 500), 400)
    for n in range(5):
        feed(tracker, n / 30, [[430, 300, 570, 700, 0.9]] if n == 0 else None, [joints])
    (before,) = tracker.propose(5 / 30)
    moved, scores = joints[None] + np.float32((40, 0)), np.full((1, 17), 0.8, np.float32)
    tracker.preview(5 / 30, moved, scores, (1920, 1080))
    (after,) = tracker.propose(6 / 30)
    np.testing.assert_allclose(after - before, [40, 0, 40, 0], atol=1)
    # What the last stage says of both frames comes later, in their order.
    for n in (5, 6):
        (person,) = tracker.update(n / 30, joints[None], scores, (1920, 1080))
        assert person.id == 1
        np.testing.assert_array_equal(person.joints, joints)
    # A poor or wild first estimate moves nothing.
    for wild, score in ((joints + 900, 0.8), (joints * 0.2, 0.8), (joints + 40, 0.1)):
        tracker.propose(7 / 30)
        tracker.preview(
            7 / 30, wild[None].astype(np.float32), np.full((1, 17), score), (1920, 1080)
        )
        (box,) = tracker.propose(8 / 30)
        np.testing.assert_allclose(box, before, atol=12)


def test_a_late_detection_is_matched_where_everybody_was():
    tracker = Tracker(COCO17)
    place = [standing((500 + 30 * n, 500), 400) for n in range(12)]
    for n in range(9):
        rows = [[430, 300, 570, 700, 0.9]] if n == 0 else None
        if n == 6:
            tracker.look()
        feed(tracker, n / 30, rows, [place[n]])
    # Frame 6 as the detector saw it, two frames late: a newcomer, and the walker of then.
    x = 500 + 30 * 6
    tracker.detected(
        6 / 30, np.array([[x - 70, 300, x + 70, 700, 0.9], [1200, 300, 1340, 700, 0.9]])
    )
    boxes = tracker.propose(9 / 30)
    assert len(boxes) == 2
    # The walker goes on from the newest pose, not from the detector's old box.
    assert abs(float(boxes[0, 0] + boxes[0, 2]) / 2 - (500 + 30 * 9)) < 15
    np.testing.assert_allclose(boxes[1], [1200, 300, 1340, 700])


def test_a_box_around_two_persons_moves_neither_and_starts_nobody():
    tracker = Tracker(COCO17)
    left, right = standing((500, 500), 400), standing((720, 560), 400)
    found = [[430, 300, 570, 700, 0.9], [650, 360, 790, 760, 0.8]]
    for n in range(20):
        rows = found if n == 0 else None
        if n in (8, 12, 16):
            rows = [[425, 300, 795, 760, 0.9]]  # the detector takes the two for one
        boxes, people = feed(tracker, n / 30, rows, [left, right])
        assert len(boxes) == 2
        assert max(boxes[:, 2] - boxes[:, 0]) < 200
    assert [p.id for p in people] == [1, 2]
