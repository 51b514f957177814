"""Whole pictures with the boxes of all persons in them, for the person detector.

One JSON line is one picture: ``image``, ``width``, ``height``, ``boxes`` (``[x0, y0, x1, y1,
score]`` in pixels; 1 marks a box drawn by people), and optionally ``ignore`` (``[x0, y0, x1, y1]``,
neither person nor background), ``source`` and ``split``. The pictures lie in a tar or folder beside
the file, as those of :mod:`edgepose.data.records`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.data.records import decoded_lines, of_split
from edgepose.errors import DataError


class Scene(msgspec.Struct, frozen=True):
    """One annotated picture; coordinates in its pixels."""

    image: str
    width: int
    height: int
    boxes: list[tuple[float, float, float, float, float]]
    ignore: list[tuple[float, float, float, float]] = []
    source: str = ""
    split: str = "train"

    @property
    def persons(self) -> NDArray[np.float32]:
        """(n, 5) boxes of the persons and their scores."""
        return np.array(self.boxes, np.float32).reshape(-1, 5)

    @property
    def unsure(self) -> NDArray[np.float32]:
        """(m, 4) regions that are neither person nor background."""
        return np.array(self.ignore, np.float32).reshape(-1, 4)


def holds_scenes(path: Path | str) -> bool:
    """Whether an annotation file holds scenes rather than persons: its first line has no joints.

    False for a file that cannot be read: reading it then says what is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            first: Any = msgspec.json.decode(file.readline())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(first, dict) and "joints" not in first and "boxes" in first


def load_scenes(path: Path | str, split: str | None = None) -> list[Scene]:
    """Read and check a file of scenes; ``split`` keeps the lines of one split.

    Raises DataError naming the file and line that is wrong, or that nothing is left.
    """
    scenes = list(enumerate(decoded_lines(path, Scene), 1))
    for number, scene in scenes:
        if min(scene.width, scene.height) < 1:
            raise DataError(
                f"{path} line {number} gives its picture a size of {scene.width} x {scene.height}"
            )
        for x0, y0, x1, y1, *_ in (*scene.boxes, *scene.ignore):
            if not (x0 < x1 and y0 < y1):
                raise DataError(f"{path} line {number} has a box without an area")
    return [scene for _, scene in of_split(path, scenes, split)]
