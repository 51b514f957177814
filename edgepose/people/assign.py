"""The assignment problem of a handful of tracks and detections."""

from __future__ import annotations

import lap
import numpy as np
from numpy.typing import ArrayLike

_NEVER = 1e6


def assign(cost: ArrayLike) -> list[tuple[int, int]]:
    """Pair rows with columns so that most pairs are made, and of those the cheapest in total.

    ``cost`` (n, m): what a pair costs, less than 1000 in absolute value; infinite where it may not
    be. Gives (row, column) pairs in the order of the rows. Solved by lapx (Jonker & Volgenant
    1987): SciPy's solver gives the same, but its import costs a small machine 0.4 s and 47 MB.
    """
    table = np.asarray(cost, np.float64)
    if table.size == 0:
        return []
    filled = np.where(np.isfinite(table), table, _NEVER)
    rows, columns = lap.lapjvx(filled, extend_cost=True, return_cost=False)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return sorted(pair for pair in pairs if np.isfinite(table[pair]))
