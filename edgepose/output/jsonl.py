"""Results as JSON lines: a header, then one line per frame.

Each line is one ``write`` of the system at the end of the file, so that a run that is killed leaves
whole lines only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgepose.errors import OutputError
from edgepose.output import unwritable
from edgepose.skeleton import Skeleton
from edgepose.types import Person, Result

FORMAT = 1


class JsonLines:
    """Writes ``{"edgepose": 1, …}`` and then ``{"frame", "t", "persons": […]}`` per frame.

    Positions are in frame pixels to 1/100, scores to 1/1000, never NaN. Frames of folders carry
    their picture's ``name``, and ``width`` and ``height`` where they differ from the header's.
    """

    def __init__(self, path: Path | None) -> None:
        """Make or empty the file at ``path``; None writes to stdout. OutputError if refused."""
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._size: tuple[int, int] | None = None
        if path is None:
            self._fd = os.dup(1)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise unwritable(path, error) from None

    def start(
        self,
        *,
        bundle: str,
        backend: str,
        skeleton: Skeleton,
        source: str,
        size: tuple[int, int],
        fps: float | None,
    ) -> None:
        """Write the header; ``size`` is (width, height), ``fps`` None where nobody knows."""
        self._size = size
        self._line(
            {
                "edgepose": FORMAT,
                "bundle": bundle,
                "backend": backend,
                "skeleton": skeleton.name,
                "joints": skeleton.joints,
                "source": source,
                "width": size[0],
                "height": size[1],
                "fps": None if fps is None else round(fps, 3),
            }
        )

    def write(self, result: Result) -> None:
        """Write one frame. OutputError when the disk is full or the reader has gone."""
        line: dict[str, Any] = {"frame": result.index, "t": round(result.time, 4)}
        if result.name is not None:
            line["name"] = result.name
        height, width = result.frame.shape[:2]
        if self._size is not None and self._size != (width, height):
            line["width"], line["height"] = width, height
        line["persons"] = [_person(p) for p in result.people]
        self._line(line)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, line: dict[str, Any]) -> None:
        data = self._encode(line) + b"\n"
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            # A full disk takes the first part of a line: take it back.
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            if self._path is None:
                raise OutputError("The reader of the JSON lines on stdout has gone.") from None
            raise unwritable(self._path, error) from None


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
