"""Results as a table: a row for each person of each frame.

A run that is killed leaves whole rows only, see :mod:`edgepose.output.append`.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from edgepose.files import check_writable
from edgepose.output.append import append, open_appending
from edgepose.output.sink import Sink
from edgepose.types import Person, Result, RunInfo

_FIXED = ("source", "frame", "t", "name", "id", "score", "x0", "y0", "x1", "y1")


class CsvFile(Sink):
    """Columns: source, frame, t, name, id, score, the box, then x, y and score of every joint.

    Positions are in frame pixels to 1/100; what is not finite is an empty cell. A frame with nobody
    has no row.
    """

    pixels = False

    def __init__(self, path: str) -> None:
        """Check that ``path`` can be written, "-" is stdout; OutputError if not."""
        self.path = self._file = Path(path)
        check_writable(self._file)
        self._fd = -1

    def start(self, run: RunInfo) -> None:
        """Make or empty the file and write the names of the columns."""
        self._fd = open_appending(self._file)
        joints = [f"{j}_{part}" for j in run.skeleton.joints for part in ("x", "y", "score")]
        self._rows([[*_FIXED, *joints]])

    def write(self, result: Result) -> bool:
        """Write the persons of one frame. OutputError when the disk is full."""
        frame = [result.source, result.index, round(result.time, 4), result.name or ""]
        if result.people:
            self._rows([[*frame, *_cells(person)] for person in result.people])
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rows(self, rows: list[list[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        append(self._fd, text.getvalue().encode(), self._file)


def _cells(person: Person) -> list[object]:
    values = np.concatenate(
        (person.box.round(2), np.column_stack((person.joints.round(2), person.scores)).ravel())
    )
    shown = [f"{v:.3f}".rstrip("0").rstrip(".") if np.isfinite(v) else "" for v in values]
    return [person.id, round(float(person.score), 3), *shown]
