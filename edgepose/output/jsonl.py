"""Results as JSON lines: a header, then one line per frame.

A run that is killed leaves whole lines only, see :mod:`edgepose.output.append`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgepose.files import check_writable
from edgepose.output.append import append, open_appending
from edgepose.output.sink import Sink
from edgepose.types import Person, Result, RunInfo

FORMAT = 1


class JsonLines(Sink):
    """Writes ``{"edgepose": 1, …}`` and then ``{"frame", "source", "t", "persons": […]}`` a frame.

    Positions are in frame pixels to 1/100, scores to 1/1000, never NaN. Frames of folders carry
    their picture's ``name``, and ``width`` and ``height`` where they differ from the header's.
    """

    pixels = False

    def __init__(self, path: str) -> None:
        """Check that ``path`` can be written, "-" is stdout; OutputError if not."""
        self.path = self._file = Path(path)
        check_writable(self._file)
        self._encode = msgspec.json.Encoder().encode
        self._sizes: list[tuple[int, int]] = []
        self._fd = -1

    def start(self, run: RunInfo) -> None:
        """Make or empty the file and write the header."""
        self._fd = open_appending(self._file)
        self._sizes = [(s.width, s.height) for s in run.sources]
        self._line(header(run))

    def write(self, result: Result) -> bool:
        """Write one frame. OutputError when the disk is full or the reader has gone."""
        self._line(plain(result, self._sizes[result.source]))
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, line: dict[str, Any]) -> None:
        append(self._fd, self._encode(line) + b"\n", self._file)


def header(run: RunInfo) -> dict[str, Any]:
    """The first line as plain data."""
    sources = [
        {
            "source": s.name,
            "width": s.width,
            "height": s.height,
            "fps": None if s.fps is None else round(s.fps, 3),
        }
        for s in run.sources
    ]
    return {
        "edgepose": FORMAT,
        "bundle": run.bundle,
        "backend": run.backend,
        "skeleton": run.skeleton.name,
        "joints": run.skeleton.joints,
        **(sources[0] if len(sources) == 1 else {}),
        "sources": sources,
    }


def plain(result: Result, size: tuple[int, int]) -> dict[str, Any]:
    """One line as plain data; ``size`` (width, height) is the one that the reader knows."""
    line: dict[str, Any] = {
        "frame": result.index,
        "source": result.source,
        "t": round(result.time, 4),
    }
    if result.name is not None:
        line["name"] = result.name
    height, width = result.image.shape[:2]
    if size != (width, height):
        line["width"], line["height"] = width, height
    line["persons"] = [_person(p) for p in result.people]
    return line


def _person(person: Person) -> dict[str, Any]:
    joints = np.empty((len(person.joints), 3))
    joints[:, :2] = person.joints
    joints[:, :2] = joints[:, :2].round(2)
    joints[:, 2] = person.scores
    joints[:, 2] = joints[:, 2].round(3)
    return {
        "id": person.id,
        "box": _finite(person.box.astype(np.float64).round(2)).tolist(),
        "score": round(float(person.score), 3),
        "joints": _finite(joints).tolist(),
    }


def _finite(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    return values if np.isfinite(values).all() else np.nan_to_num(values, posinf=0, neginf=0)
