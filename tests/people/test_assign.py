import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from edgepose.people.assign import assign


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_scipy(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 2)
    cost = rng.uniform(-3, 3, shape)
    if seed % 2:  # ties
        cost = cost.round()
    pairs = assign(cost)
    rows, columns = linear_sum_assignment(cost)
    assert len(pairs) == min(shape)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert sum(cost[p] for p in pairs) == pytest.approx(cost[rows, columns].sum())


@pytest.mark.parametrize("seed", range(40))
def test_forbidden_pairs_are_not_made_and_most_pairs_come_first(seed):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 2, rng.integers(1, 8, 2))
    cost[rng.random(cost.shape) < 0.6] = np.inf
    pairs = assign(cost)
    assert all(np.isfinite(cost[p]) for p in pairs)
    large = np.where(np.isfinite(cost), cost, 1e6)
    rows, columns = linear_sum_assignment(large)
    best = [v for v in large[rows, columns] if v < 1e6]
    assert len(pairs) == len(best)
    assert sum(cost[p] for p in pairs) == pytest.approx(sum(best))


def test_nothing_to_assign():
    assert assign(np.zeros((0, 3))) == []
    assert assign(np.zeros((3, 0))) == []
    assert assign([[np.inf, np.inf]]) == []
