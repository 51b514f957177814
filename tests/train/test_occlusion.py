import numpy as np
import pytest

from edgepose.train.occlusion import cut_off, put_beside


@pytest.mark.parametrize(("low", "high", "covered"), [(0.3, 0.9, "left"), (0.2, 0.6, "right")])
def test_a_neighbour_keeps_off_the_person(low, high, covered):
    crops, other = np.zeros((1, 3, 50, 50), np.float32), np.ones((1, 3, 50, 50), np.float32)
    columns = put_beside(crops, other, low, high)[0, 0, 0] > 0
    assert crops.max() == 0  # the argument is left alone
    room = low if covered == "left" else 1 - high
    assert abs(columns.sum() - 50 * (room - 0.02)) <= 1
    assert not columns[int(50 * low) : int(50 * high)].any()
    assert columns[0 if covered == "left" else -1]


def test_a_person_who_fills_the_crop_gets_no_neighbour():
    crops = np.zeros((1, 3, 40, 40), np.float32)
    assert put_beside(crops, crops + 1, 0.0, 1.0).max() == 0


def test_joints_beyond_the_cut_are_gone_and_the_others_stay():
    rng = np.random.default_rng(0)
    side, sides = 60, set()
    for _ in range(20):
        crops = np.ones((1, 3, side, side), np.float32)
        points = rng.uniform(-0.5, 0.5, (50, 2)).astype(np.float32)
        cut, kept = cut_off(crops, points, rng)
        x, y = np.floor((points + 0.5) * side).astype(int).T
        assert np.array_equal(cut[0, 0, y, x] > 0, kept)
        gone = cut[0, 0] == 0
        assert 0.06 < gone.mean() < 0.36
        sides.add((bool(gone[0].all()), bool(gone[:, 0].all())))
    assert len(sides) > 2
