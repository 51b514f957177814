"""Frames as a video file, through OpenCV.

A run that is killed leaves a video that opens: Matroska and AVI are written as they go, and what is
called MP4 is a fragmented MP4, which OpenCV's FFmpeg writes under a name that ends in ``.ismv``.
PyAV would give every option of FFmpeg, but its wheels carry x264 and x265, which are GPL.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

import cv2

from edgepose.errors import OutputError
from edgepose.files import check_writable, unwritable
from edgepose.output.sink import Sink
from edgepose.types import Image, Result, RunInfo, as_image

# The codecs that every OpenCV wheel can write.
_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_FRAGMENTED = (".mp4", ".m4v", ".mov")
_RATE = 30.0
_MOST_REPEATS = 300
_SPARE = 4 << 20


class VideoFile(Sink):
    """Writes what it is given as a video: one file, or one for each source.

    With several sources, ``clip.mp4`` becomes ``clip.0.mp4``, ``clip.1.mp4``, … A live source's
    frames stand in the video at their own times.
    """

    def __init__(self, path: str) -> None:
        """OutputError unless a video can be made at ``path``; nothing is touched."""
        self.path = self._file = Path(path)
        self._writers: list[VideoWriter] = []
        if self._file.suffix.lower() not in _CODECS:
            raise OutputError(
                f"'{path}' is no video file that can be written; end its name in one of "
                f"{', '.join(_CODECS)}."
            )
        check_writable(self._file)

    def start(self, run: RunInfo) -> None:
        """Make or empty the files; OutputError if the system or the encoder refuses."""
        for number, source in enumerate(run.sources):
            path = self._file
            if len(run.sources) > 1:
                path = path.with_name(f"{path.stem}.{number}{path.suffix}")
            size = (source.width, source.height)
            self._writers.append(VideoWriter(path, size, source.fps, clock=source.live))

    def write(self, result: Result) -> bool:
        """Add one frame; OutputError when the disk is as good as full."""
        self._writers[result.source].write(result.frame, result.time)
        return True

    def close(self) -> None:
        """Finish the files; OutputError if nothing came of one."""
        writers, self._writers = self._writers, []
        with contextlib.ExitStack() as closing:
            for writer in writers:
                closing.callback(writer.close)


class VideoWriter:
    """Writes frames of one size; frames of another size are fitted in with black bars.

    With ``clock`` true the frame's time decides where it stands in the video: the frame before is
    repeated over what a live source dropped, so that the video runs at the speed of life.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: float | None, *, clock: bool = False
    ) -> None:
        """Make or empty the file at ``path`` for frames of ``size`` (width, height).

        OutputError if the system or the encoder refuses.
        """
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._path, self._clock = path, clock
        self._fps = fps if fps is not None and fps > 0 else _RATE
        # The codecs halve the colour's resolution: sides are even.
        self._size = (max(2, size[0] & ~1), max(2, size[1] & ~1))
        self._first: float | None = None
        self._written = 0
        self._last: Image | None = None
        self._writer = _open(path, self._fps, self._size)
        if not self._writer.isOpened():
            raise OutputError(
                f"'{path}' cannot be written as a video of {size[0]} x {size[1]} pixels; "
                "give another path, or one that ends in .avi."
            )

    def write(self, frame: Image, time: float) -> None:
        """Add ``frame`` (H, W, 3) uint8 BGR, taken at ``time`` seconds."""
        if self._clock:
            if self._first is None:
                self._first = time
            place = round((time - self._first) * self._fps)
            if place < self._written and self._last is not None:
                return
            for _ in range(min(place - self._written, _MOST_REPEATS)):
                if self._last is not None:
                    self._add(self._last)
        fitted = self._fit(frame)
        self._add(fitted)
        if self._clock:
            self._last = fitted

    def _add(self, frame: Image) -> None:
        # OpenCV does not tell when a write fails: stop while the file can still be finished.
        disk = os.statvfs(self._path)
        if disk.f_bavail * disk.f_frsize < _SPARE:
            raise unwritable(self._path, OSError(errno.ENOSPC, "no space left on device"))
        self._writer.write(frame)
        self._written += 1

    def _fit(self, frame: Image) -> Image:
        width, height = self._size
        if frame.shape[:2] == (height, width):
            return frame
        if frame.shape[0] - height in (0, 1) and frame.shape[1] - width in (0, 1):
            return as_image(frame[:height, :width].copy())
        scale = min(width / frame.shape[1], height / frame.shape[0])
        inner = (
            min(width, max(1, round(frame.shape[1] * scale))),
            min(height, max(1, round(frame.shape[0] * scale))),
        )
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(frame, inner, interpolation=how)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        right, bottom = width - inner[0] - left, height - inner[1] - top
        return as_image(
            cv2.copyMakeBorder(
                small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0)
            )
        )

    def close(self) -> None:
        """Finish the file: only now can players open it. OutputError if nothing came of it."""
        if self._writer.isOpened():
            self._writer.release()
            if self._written and not (self._path.exists() and self._path.stat().st_size):
                raise OutputError(f"'{self._path}' could not be finished; is the disk full?")


def _open(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    suffix = path.suffix.lower()
    codec = cv2.VideoWriter.fourcc(*_CODECS[suffix])
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getWriterBackends():
        return cv2.VideoWriter(str(path), codec, fps, size)
    if suffix not in _FRAGMENTED:
        return cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size)
    with tempfile.TemporaryDirectory() as folder:
        alias = Path(folder, "video.ismv")
        alias.symlink_to(path.absolute())
        return cv2.VideoWriter(str(alias), cv2.CAP_FFMPEG, codec, fps, size)
