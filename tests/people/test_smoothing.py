import numpy as np
import pytest

from edgepose.people.smoothing import OneEuro
from edgepose.types import Person

HEIGHT = 400.0


def person(joints, id=1, score=0.8, height=HEIGHT):
    joints = np.atleast_2d(np.asarray(joints, np.float32))
    box = np.array([0, 0, height / 2, height], np.float32)
    return Person(id, box, score, joints, np.full(len(joints), score, np.float32))


def run(filter, positions, fps=60.0, **options):
    out = []
    for i, p in enumerate(positions):
        (smooth,) = filter([person(p, **options)], i / fps)
        out.append(smooth.joints[0])
    return np.array(out)


def jitter(values):
    return np.diff(values, axis=0).std()


def test_the_first_frame_passes():
    assert run(OneEuro(), [(10, 20)]).tolist() == [[10, 20]]


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_a_joint_at_rest_is_held_still(fps):
    noise = np.random.default_rng(0).normal(0, 2, (300, 2)) + 100
    smooth = run(OneEuro(), noise, fps)
    assert jitter(smooth[60:]) < (0.35 if fps == 60 else 0.7) * jitter(noise[60:])
    np.testing.assert_allclose(smooth[60:].mean(0), 100, atol=0.5)


@pytest.mark.parametrize("fps", [30, 60])
def test_a_walk_hardly_lags(fps):
    t = np.arange(0, 4, 1 / fps)
    # A walker's ankle: the body at 0.8 heights a second, the leg's swing on top of it.
    ankle = np.stack((0.8 * t + 0.2 * np.sin(2 * np.pi * t), 0.1 * np.abs(np.sin(np.pi * t))), 1)
    off = np.linalg.norm(run(OneEuro(), ankle * HEIGHT, fps) - ankle * HEIGHT, axis=1)
    assert np.sqrt((off**2).mean()) < 0.008 * HEIGHT
    assert off.max() < 0.02 * HEIGHT


def test_a_steady_motion_lags_by_a_few_milliseconds():
    t = np.arange(0, 2, 1 / 60)
    line = np.stack((2 * HEIGHT * t, np.zeros_like(t)), 1)
    lag = (line - run(OneEuro(), line))[60:, 0] / (2 * HEIGHT)
    assert lag.max() < 0.005


def test_it_knows_no_pixels():
    path = np.random.default_rng(1).normal(0, 5, (100, 2)).cumsum(0)
    near = run(OneEuro(), path)
    far = run(OneEuro(), path / 8, height=HEIGHT / 8)
    np.testing.assert_allclose(near / 8, far, atol=1e-3)


def test_the_output_stays_between_old_and_new():
    positions = np.random.default_rng(2).uniform(0, 100, (200, 2))
    smooth = run(OneEuro(), positions)
    for before, after, new in zip(smooth, smooth[1:], positions[1:], strict=False):
        assert (after >= np.minimum(before, new) - 1e-3).all()
        assert (after <= np.maximum(before, new) + 1e-3).all()


def test_a_sure_joint_is_believed_sooner_than_an_unsure_one():
    step = [(0, 0)] * 30 + [(20, 0)] * 3
    sure, unsure = run(OneEuro(), step, score=0.9), run(OneEuro(), step, score=0.1)
    assert sure[-1, 0] > unsure[-1, 0] > 0


def test_joints_do_not_touch_each_other():
    filter = OneEuro()
    for i in range(30):
        (out,) = filter([person([(0, 0), (30 * i, 0)])], i / 30)
    assert out.joints[0].tolist() == [0, 0]


def test_persons_are_apart_and_a_gap_starts_afresh():
    filter = OneEuro()
    filter([person((0, 0), id=1), person((500, 0), id=2)], 0.0)
    one, two = filter([person((10, 0), id=1), person((510, 0), id=2)], 1 / 30)
    assert 0 < one.joints[0, 0] < 10
    assert 500 < two.joints[0, 0] < 510
    (again,) = filter([person((300, 0), id=1)], 2.0)
    assert again.joints[0, 0] == 300


@pytest.mark.parametrize("step", [0.0, -1.0])
def test_a_clock_that_stands_or_runs_back_passes_joints_unchanged(step):
    filter = OneEuro()
    filter([person((0, 0))], 5.0)
    (out,) = filter([person((9, 9))], 5.0 + step)
    assert out.joints[0].tolist() == [9, 9]


def test_many_who_leave_are_forgotten():
    filter = OneEuro()
    for i in range(1000):
        filter([person((0, 0), id=i)], i / 10)
    assert len(filter._states) < 20


def test_the_given_arrays_stay_as_they_are():
    filter = OneEuro()
    filter([person((0, 0))], 0.0)
    given = person((10, 0))
    joints = given.joints
    filter([given], 1 / 30)
    assert joints.tolist() == [[10, 0]]


@pytest.mark.parametrize("bad", [{"min_cutoff": 0}, {"beta": -1}, {"d_cutoff": 0}, {"gap": 0}])
def test_settings_out_of_range(bad):
    with pytest.raises(ValueError, match="positive"):
        OneEuro(**bad)
