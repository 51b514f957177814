"""Every frame as a picture."""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2

from edgepose.errors import OutputError
from edgepose.files import unwritable, write_whole
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo

_QUALITY = 92
_NUMBERED = re.compile(r"(?:\d+-)?(\d{6,})\.jpg")


class Pictures(Sink):
    """JPEGs in a folder: ``000012.jpg`` for frame 12, ``1-000012.jpg`` where sources are several.

    What an earlier run has left is kept: numbers then go on from the highest that is there. Frames
    that come from pictures keep their names, and replace those of an earlier run.
    """

    def __init__(self, folder: str) -> None:
        """OutputError where there is no folder to make, or none that can be written to."""
        self.path = self._folder = Path(folder)
        parent = self._folder if self._folder.exists() else self._folder.absolute().parent
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise OutputError(
                f"'{folder}' cannot be a folder of pictures: '{parent}' is no folder that can be "
                "written to; give another path."
            )
        self._several = False
        self._first = 0

    def start(self, run: RunInfo) -> None:
        """Make the folder."""
        self._several = len(run.sources) > 1
        try:
            self._folder.mkdir(exist_ok=True)
            there = [m for m in map(_NUMBERED.fullmatch, os.listdir(self._folder)) if m]
        except OSError as error:
            raise unwritable(self._folder, error) from None
        self._first = 1 + max((int(m[1]) for m in there), default=-1)

    def write(self, result: Result) -> bool:
        """Write one picture, whole or not at all; OutputError when the disk is full."""
        stem = (
            f"{self._first + result.index:06d}" if result.name is None else Path(result.name).stem
        )
        if self._several:
            stem = f"{result.source}-{stem}"
        path = self._folder / f"{stem}.jpg"
        _, data = cv2.imencode(".jpg", result.frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        try:
            write_whole(path, data.tobytes(), sync=False)
        except OSError as error:
            raise unwritable(path, error) from None
        return True
