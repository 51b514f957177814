"""The assignment problem of a handful of tracks and detections."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_NEVER = 1e6


def assign(cost: ArrayLike) -> list[tuple[int, int]]:
    """Pair rows with columns so that most pairs are made, and of those the cheapest in total.

    ``cost`` (n, m): what a pair costs, less than 1000 in absolute value; infinite where it may not
    be. Gives (row, column) pairs in the order of the rows.

    The Hungarian method with potentials, O(n²m). SciPy's ``linear_sum_assignment`` gives the same
    (a test holds this one to it) but its import costs a small machine 0.4 s and 47 MB.
    """
    table = np.asarray(cost, np.float64)
    if table.size == 0:
        return []
    if table.shape[0] > table.shape[1]:
        return sorted((row, column) for column, row in assign(table.T))
    a = np.where(np.isfinite(table), table, _NEVER).tolist()
    n, m = table.shape
    # One-based; column 0 stands for the row that is being placed.
    u, v = [0.0] * (n + 1), [0.0] * (m + 1)
    owner, back = [0] * (m + 1), [0] * (m + 1)
    for row in range(1, n + 1):
        owner[0], column = row, 0
        slack, done = [np.inf] * (m + 1), [False] * (m + 1)
        while owner[column]:
            done[column] = True
            here, delta, nearest = owner[column], np.inf, 0
            for j in range(1, m + 1):
                if done[j]:
                    continue
                reduced = a[here - 1][j - 1] - u[here] - v[j]
                if reduced < slack[j]:
                    slack[j], back[j] = reduced, column
                if slack[j] < delta:
                    delta, nearest = slack[j], j
            for j in range(m + 1):
                if done[j]:
                    u[owner[j]] += delta
                    v[j] -= delta
                else:
                    slack[j] -= delta
            column = nearest
        while column:
            owner[column] = owner[back[column]]
            column = back[column]
    pairs = [(owner[j] - 1, j - 1) for j in range(1, m + 1) if owner[j]]
    return sorted(p for p in pairs if np.isfinite(table[p]))
