"""PCK, PCP and calibration against figures by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepose.evaluate.metrics import (
    Rates,
    calibration_error,
    limb_joints,
    pck,
    pcp,
    reliability,
    torso_size,
)
from edgepose.skeleton import COCO17, LSP14, SKELETONS

I = LSP14.index  # noqa: E741
LIMB_JOINTS = 12


def person(**places):
    """(1, 14, 2) pose at the origin but for ``places``."""
    y = np.zeros((1, 14, 2))
    for name, place in places.items():
        y[0, I(name)] = place
    return y


def everything(n=1):
    return np.ones((n, 14), bool)


def crowd(n=40, seed=0):
    """Random truths, estimates near them, and labels; some estimates are missing."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(100, 40, (n, 14, 2))
    joints = truth + rng.normal(0, 10, truth.shape)
    joints[rng.random(n) < 0.1] = np.nan
    labelled = rng.random((n, 14)) < 0.8
    return joints, truth, labelled


def loop_torso(truth, labelled, skeleton):
    best = math.nan
    for a, b in skeleton.torso:
        i, j = skeleton.index(a), skeleton.index(b)
        length = math.dist(truth[i], truth[j])
        if labelled[i] and labelled[j] and length > 0 and not length <= best:
            best = length
    return best


def test_the_twelve_limb_joints():
    for skeleton in SKELETONS.values():
        assert len(limb_joints(skeleton)) == LIMB_JOINTS
    assert set(LSP14.joints) - set(limb_joints(LSP14)) == {"neck", "head_top"}
    assert set(limb_joints(COCO17)) == set(limb_joints(LSP14))


def test_torso_is_the_larger_labelled_diagonal():
    y = person(left_shoulder=(3, 4), right_shoulder=(6, 8))
    known = everything()
    np.testing.assert_array_equal(torso_size(y, known, LSP14), [10])
    known[0, I("right_shoulder")] = False
    np.testing.assert_array_equal(torso_size(y, known, LSP14), [5])
    known[0, I("right_hip")] = False
    assert np.isnan(torso_size(y, known, LSP14)).all()
    assert np.isnan(torso_size(person(), everything(), LSP14)).all()


def test_pck_by_hand():
    truth = person(left_shoulder=(60, 80))  # a torso of 100
    joints = truth.copy()
    joints[0, I("left_knee")] = (20, 0)  # 0.2 exactly counts
    joints[0, I("right_knee")] = (20.001, 0)
    joints[0, I("left_wrist")] = np.nan
    joints[0, I("neck")] = (500, 0)  # is counted, but no limb joint
    got = pck(joints, truth, everything(), LSP14, 0.2)
    wrong = {"right_knee", "left_wrist", "neck"}
    assert {n for n, r in zip(got.names, got.rates, strict=True) if r == 0} == wrong
    assert got.counted.tolist() == [1] * 14
    assert got.mean == pytest.approx(10 / 12)
    assert pck(joints, truth, everything(), LSP14, 0.1).mean == pytest.approx(9 / 12)


def test_unlabelled_joints_and_persons_without_a_torso_do_not_count():
    truth = np.concatenate([person(left_shoulder=(60, 80)), person()])
    known = everything(2)
    known[0, I("left_ankle")] = False
    got = pck(truth, truth, known, LSP14, 0.2)
    assert got.counted[I("left_ankle")] == 0
    assert np.isnan(got.rates[I("left_ankle")])
    assert got.counted[I("right_ankle")] == 1
    assert got.mean == 1


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.5])
def test_pck_against_a_loop(threshold):
    joints, truth, labelled = crowd()
    got = pck(joints, truth, labelled, LSP14, threshold)
    sizes = [loop_torso(*one, LSP14) for one in zip(truth, labelled, strict=True)]
    np.testing.assert_allclose(torso_size(truth, labelled, LSP14), sizes)
    rates = []
    for i, name in enumerate(LSP14.joints):
        right = counted = 0
        for p in range(len(truth)):
            if labelled[p, i] and not math.isnan(sizes[p]):
                counted += 1
                right += math.dist(joints[p, i], truth[p, i]) <= threshold * sizes[p]
        assert (got.right[i], got.counted[i]) == (right, counted)
        if name not in ("neck", "head_top"):
            rates.append(right / counted)
    assert got.mean == pytest.approx(sum(rates) / LIMB_JOINTS)


def test_pcp_by_hand():
    truth = person(left_elbow=(0, 40), left_wrist=(0, 60))
    truth[0, I("left_shoulder")] = (0, 0)
    joints = truth.copy()
    joints[0, I("left_elbow")] = (15, 40)  # half of 40 is 20, half of 20 is 10
    got = pcp(joints, truth, everything(), LSP14)
    rates = dict(zip(got.names, got.rates, strict=True))
    assert rates["left_upper_arm"] == 1
    assert rates["left_lower_arm"] == 0
    # All other limbs have no length: nothing to be right about.
    assert sum(got.counted) == 2
    assert got.mean == 0.5


def test_pcp_is_strict_about_both_ends():
    truth = person(left_shoulder=(0, 0), left_elbow=(0, 40))
    for ends, right in (((0, 20), 1), ((20.1, 0), 0), ((0, 20.1), 0)):
        joints = truth.copy()
        joints[0, I("left_shoulder")] = (ends[0], 0)
        joints[0, I("left_elbow")] = (ends[1], 40)
        got = pcp(joints, truth, everything(), LSP14)
        assert got.right[got.names.index("left_upper_arm")] == right


def test_pcp_against_a_loop():
    joints, truth, labelled = crowd(seed=1)
    got = pcp(joints, truth, labelled, LSP14)
    rates = []
    for m, (name, ends) in enumerate(LSP14.parts):
        assert got.names[m] == name
        right = counted = 0
        a, b = map(I, ends)
        for p in range(len(truth)):
            if labelled[p, a] and labelled[p, b]:
                counted += 1
                reach = 0.5 * math.dist(truth[p, a], truth[p, b])
                right += all(math.dist(joints[p, i], truth[p, i]) <= reach for i in (a, b))
        assert (got.right[m], got.counted[m]) == (right, counted)
        rates.append(right / counted)
    assert got.mean == pytest.approx(sum(rates) / 8)


def test_nothing_counted():
    none = np.zeros((1, 14), bool)
    y = person()
    for rates in (pck(y, y, none, LSP14, 0.2), pcp(y, y, none, LSP14)):
        assert np.isnan(rates.rates).all()
        assert math.isnan(rates.mean)
    assert math.isnan(Rates((), np.zeros(0, int), np.zeros(0, int), ()).mean)


def test_calibration_error_by_hand():
    # Two bins: [0.2, 0.3) holds 0.25 twice, hit once; [0.9, 1] holds 0.95 and 1, both hit.
    scores, right = [0.25, 0.25, 0.95, 1.0], [True, False, True, True]
    assert calibration_error(scores, right) == pytest.approx((2 * 0.25 + 2 * 0.025) / 4)
    assert calibration_error([1.0, 0.0], [True, False]) == 0
    assert calibration_error([1.0, 0.0], [False, True]) == 1
    assert math.isnan(calibration_error([], []))


def test_calibration_error_against_a_loop():
    rng = np.random.default_rng(0)
    scores = rng.random(500).astype(np.float32)
    right = rng.random(500) < scores**2
    total = 0.0
    for k in range(10):
        inside = [(s, r) for s, r in zip(scores, right, strict=True) if min(int(s * 10), 9) == k]
        s, r = np.mean(inside, axis=0)
        total += len(inside) / 500 * abs(s - r)
    assert calibration_error(scores, right) == pytest.approx(total, rel=1e-5)
    honest = rng.random(20000)
    assert calibration_error(honest, rng.random(20000) < honest) < 0.02


def test_reliability_by_hand():
    score, rate, count = reliability([0.05, 0.15, 0.17, 1.0], [False, True, False, True], bins=10)
    assert count.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(score[[0, 1, 9]], [0.05, 0.16, 1.0])
    np.testing.assert_allclose(rate[[0, 1, 9]], [0, 0.5, 1])
    assert np.isnan(score[2:9]).all()
    assert np.isnan(rate[2:9]).all()
