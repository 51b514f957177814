"""Every frame as a picture."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from edgepose.errors import OutputError
from edgepose.files import unwritable, write_whole
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo

_QUALITY = 92


class Pictures(Sink):
    """JPEGs in a folder: ``000012.jpg`` for frame 12, ``1-000012.jpg`` where sources are several.

    Frames that come from pictures keep their names.
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

    def start(self, run: RunInfo) -> None:
        """Make the folder."""
        self._several = len(run.sources) > 1
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self._folder, error) from None

    def write(self, result: Result) -> bool:
        """Write one picture, whole or not at all; OutputError when the disk is full."""
        stem = f"{result.index:06d}" if result.name is None else Path(result.name).stem
        if self._several:
            stem = f"{result.source}-{stem}"
        path = self._folder / f"{stem}.jpg"
        _, data = cv2.imencode(".jpg", result.frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        try:
            write_whole(path, data.tobytes(), sync=False)
        except OSError as error:
            raise unwritable(path, error) from None
        return True
