import numpy as np
import pytest

from edgepose.output.overlay import LEFT, RIGHT, Overlay
from edgepose.skeleton import COCO17, LSP14
from tests.conftest import front_person

BOX = (60, 40, 260, 440)


def draw(people, size=(320, 480), level=128, **options):
    frame = np.full((size[1], size[0], 3), level, np.uint8)
    assert Overlay(COCO17, **options).draw(frame, people) is frame
    return frame


def changed(frame, level=128):
    return np.abs(frame.astype(int) - level).max(-1) > 8


def at(frame, point):
    return frame[int(point[1]), int(point[0])].astype(int)


def test_joints_and_limbs_are_drawn_in_the_colour_of_their_side():
    person = front_person(BOX)
    frame = draw([person])
    for name, colour in (("left_knee", LEFT), ("right_knee", RIGHT), ("left_wrist", LEFT)):
        here = at(frame, person.joints[COCO17.index(name)])
        assert np.abs(here - colour).max() < 30, name
    thigh = person.joints[[COCO17.index("left_hip"), COCO17.index("left_knee")]].mean(0)
    assert np.abs(at(frame, thigh) - LEFT).max() < 30


def test_nothing_is_drawn_far_from_the_person():
    person = front_person(BOX)
    away = ~changed(draw([person], labels=False))
    yy, xx = np.mgrid[:480, :320]
    outside = (xx < 50) | (xx > 270) | (yy < 30) | (yy > 450)
    assert away[outside].all()
    assert changed(draw([person])).sum() > changed(draw([person], labels=False)).sum()
    assert not changed(draw([])).any()


def test_low_scores_are_faint_and_the_lowest_are_left_out():
    person = front_person(BOX)
    strength = []
    for score in (0.9, 0.6, 0.3, 0.15):
        person.scores[:] = score
        frame = draw([person], labels=False).astype(int)
        strength.append(np.abs(frame - 128).sum())
    assert strength == sorted(strength, reverse=True)
    assert strength[-1] > 0
    person.scores[:] = 0.05
    assert not changed(draw([person], labels=False)).any()


def test_one_faint_joint_does_not_hide_the_others():
    person = front_person(BOX)
    person.scores[COCO17.index("left_ankle")] = 0.0
    frame = draw([person], labels=False)
    mask = changed(frame)
    assert not mask[int(person.joints[COCO17.index("left_ankle")][1]) - 2 :, 165:].any()
    assert mask[int(person.joints[COCO17.index("right_ankle")][1]), :160].any()


def test_the_skeleton_grows_with_the_person():
    small = changed(draw([front_person((60, 40, 110, 140))], labels=False)).sum()
    large = changed(draw([front_person((60, 40, 260, 440))], labels=False)).sum()
    assert large > 6 * small


@pytest.mark.parametrize(
    "box", [(-300, -500, 100, 100), (300, 400, 900, 1200), (-5000, 0, -4000, 100), (5, 5, 5.5, 6)]
)
def test_persons_at_and_past_the_border(box):
    draw([front_person(box)])


def test_hostile_poses_draw_nothing():
    person = front_person(BOX)
    person.joints[0] = np.nan
    assert not changed(draw([person])).any()
    person = front_person(BOX)
    person.scores[:] = np.nan
    assert not changed(draw([person], labels=False)).any()
    person.joints[:] = 1e9
    draw([person])


def test_other_skeletons():
    rng = np.random.default_rng(0)
    person = front_person(BOX)
    person.joints = rng.uniform(100, 300, (14, 2)).astype(np.float32)
    person.scores = np.full(14, 0.8, np.float32)
    frame = np.full((480, 320, 3), 128, np.uint8)
    Overlay(LSP14).draw(frame, [person])
    assert changed(frame).any()


def test_a_strided_frame_is_drawn_on_in_place():
    wide = np.full((480, 640, 3), 128, np.uint8)
    Overlay(COCO17).draw(wide[:, 100:420], [front_person(BOX)])
    assert changed(wide[:, 100:420]).any()
    assert not changed(wide[:, :100]).any()
