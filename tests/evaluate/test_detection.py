import numpy as np
import pytest

from edgepose.evaluate.detection import figures, intervals, match

SMALL, LARGE = [0, 0, 20, 50, 1], [100, 0, 180, 200, 0.6]
NOTHING = np.zeros((0, 4), np.float32)


def _boxes(*rows, width=5):
    return np.array(rows, np.float32).reshape(-1, width)


def test_each_person_takes_one_box_and_each_box_one_person():
    found = _boxes([0, 0, 20, 50, 0.9], [1, 0, 21, 50, 0.8], [100, 0, 180, 190, 0.5])
    outcome = match(found, _boxes(SMALL, LARGE), NOTHING)
    np.testing.assert_allclose(outcome.scores, [0.9, 0.5])
    np.testing.assert_allclose(outcome.false, [0.8])
    assert outcome.sides.tolist() == [50, 200]
    assert outcome.human.tolist() == [True, False]


def test_a_box_on_an_unsure_region_counts_neither_way():
    unsure = _boxes([300, 0, 400, 100], width=4)
    inside, beside = [310, 10, 350, 90, 0.7], [380, 0, 480, 100, 0.6]
    outcome = match(_boxes(inside, beside), _boxes(SMALL), unsure)
    np.testing.assert_allclose(outcome.false, [0.6])
    assert outcome.scores.tolist() == [0]


def test_figures_by_size_and_score():
    crowd = match(
        _boxes([0, 0, 20, 50, 0.9], [300, 0, 340, 90, 0.8]), _boxes(SMALL, LARGE), NOTHING
    )
    room = match(_boxes([0, 0, 10, 30, 0.4], [50, 0, 70, 30, 0.7]), _boxes(), NOTHING)
    low, high = figures([crowd, room, room], 0.3), figures([crowd, room, room], 0.75)
    assert low.recall == high.recall == 0.5
    assert low.by_size[0] == 1
    assert np.isnan(low.by_size[1])
    assert low.by_size[2] == 0
    assert low.human == 1
    assert low.precision == 0.5
    assert low.false_per_100 == 200
    assert high.false_per_100 == 0
    assert figures([crowd], 0.85).precision == 1


def test_the_interval_holds_the_figure_and_is_that_of_scenes():
    hit = match(_boxes([0, 0, 20, 50, 0.9]), _boxes(SMALL), NOTHING)
    miss = match(_boxes(), _boxes(SMALL), NOTHING)
    low, high = intervals([hit] * 50 + [miss] * 50, 0.5, draws=300).T
    assert low[0] == pytest.approx(0.4, abs=0.03)  # two deviations of a mean of 100 coins
    assert high[0] == pytest.approx(0.6, abs=0.03)
    assert low[1] == low[0]  # all are small
    assert np.isnan(low[3])
