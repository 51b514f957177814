"""Video files, cameras and network streams as sources, through OpenCV."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import cv2

from edgepose.errors import SourceError
from edgepose.sources.source import Source, SourceOptions, redact
from edgepose.types import Frame, Image, as_image

_NETWORK_TIMEOUT_MS = 10_000


def _quiet() -> None:
    """Keep OpenCV's and FFmpeg's own notes off stderr: whoever opens a source gets a sentence."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _decoder_threads() -> int:
    """Half of the cores, four at most.

    More would take their time from the inference (on two cores a second thread costs a fifth more
    for the same frames), and each keeps frames in memory.
    """
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


class _Capture(Source):
    """What files, cameras and streams share: an OpenCV capture that has given its first frame."""

    def _start(self, capture: cv2.VideoCapture, missing: str, unreadable: str) -> None:
        """Read the first frame of ``capture``; SourceError with one of the sentences if none."""
        self._capture = capture
        if not capture.isOpened():
            raise SourceError(missing)
        ok, frame = capture.read()
        if not ok or frame is None or frame.size == 0:
            capture.release()
            raise SourceError(unreadable)
        self._first: Image | None = as_image(frame)
        self.height, self.width = frame.shape[:2]
        fps = _positive(capture.get(cv2.CAP_PROP_FPS))
        # Containers without a rate report their time base (such as 1000 or 90000).
        self.fps = fps if fps is not None and fps <= 480 else None

    def _images(self) -> Iterator[Image]:
        first, self._first = self._first, None
        if first is None:
            raise RuntimeError(f"the source '{self.name}' has already been read")
        yield first
        del first
        read = self._capture.read
        while True:
            # A picture of another size than the first gets memory of its own.
            ok, frame = read(self._lent((self.height, self.width, 3)))
            if not ok:
                return
            yield as_image(frame)
            # Not held here while the next one is decoded: a frame is megabytes.
            del frame

    def close(self) -> None:
        """Release the capture."""
        self._capture.release()


class FileSource(_Capture):
    """A video file. Every frame is given, at the file's own times and turned as the file says."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Open ``path``; SourceError when it is no video or has no frame that can be decoded."""
        _quiet()
        self.name = name or str(path)
        self.path = path
        sentence = (
            f"'{path}' cannot be read as a video: it is damaged, cut short or not a video; "
            "check that another player shows it, or convert it to MP4 (H.264)."
        )
        api = cv2.CAP_FFMPEG if _has_ffmpeg() else cv2.CAP_ANY
        options = [cv2.CAP_PROP_N_THREADS, _decoder_threads()] if api == cv2.CAP_FFMPEG else []
        capture = cv2.VideoCapture(str(path), api, options)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self._start(capture, sentence, sentence)
        frames = _positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = None if frames is None else int(frames)

    def __iter__(self) -> Iterator[Frame]:
        rate = self.fps or 30.0
        index, clock = -1, -1.0
        for index, image in enumerate(self._images()):
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            # Files with broken time stamps still get a clock that runs forward.
            clock = stamp if stamp > clock and math.isfinite(stamp) else clock + 1 / rate
            yield Frame(image, index, max(clock, 0.0), time.perf_counter(), self.number)
            # Not held here while the next one is decoded: a frame is megabytes.
            del image
        self._check_end(index + 1, clock, rate)

    def _check_end(self, frames: int, clock: float, rate: float) -> None:
        """SourceError where the file promises clearly more frames, and more time, than it gave.

        Both are asked: the promised count is a guess from the duration in files of variable rate.
        """
        if self.length is None:
            return
        missing = self.length - frames
        silence = self.length / rate - clock
        if missing > max(2, 0.01 * self.length) and silence * rate > max(4, 0.01 * self.length):
            raise SourceError(
                f"'{self.path}' ends after {frames} of {self.length} frames: the file is cut short "
                "or damaged; what was read has been used, copy or download it again for the rest."
            )


class CameraSource(_Capture):
    """A camera by its number. Live: the newest frame counts."""

    live = True

    def __init__(self, number: int, options: SourceOptions) -> None:
        """Open camera ``number``; SourceError when it is not there, busy or gives no picture.

        It is asked for the size and rate of ``options``; drivers give the nearest they have.
        """
        _quiet()
        self.name = f"camera {number}"
        if sys.platform.startswith("linux") and not os.path.exists(f"/dev/video{number}"):
            raise SourceError(_no_camera(number))
        api = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        capture = cv2.VideoCapture(number, api)
        # A driver's own queue only makes frames old.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if options.size is not None:
            # Only compressed do most cameras give large frames at full rate.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
        if options.fps is not None:
            capture.set(cv2.CAP_PROP_FPS, options.fps)
        self._start(
            capture,
            f"Camera {number} cannot be opened; close other programs that use it, or check that "
            "you may use it (on Linux: membership of the group 'video').",
            f"Camera {number} gives no picture; close other programs that use it, or plug it in "
            "again.",
        )

    def __iter__(self) -> Iterator[Frame]:
        started = None
        for index, image in enumerate(self._images()):
            now = time.perf_counter()
            started = started or now
            yield Frame(image, index, now - started, now, self.number)
            del image
        raise SourceError(f"{self.name.capitalize()} stopped giving pictures; plug it in again.")


class UrlSource(_Capture):
    """A stream or file behind a URL; live unless the server says how long it is."""

    def __init__(self, url: str) -> None:
        """Open ``url``; SourceError when nothing answers within ten seconds or it is no video."""
        _quiet()
        # The name goes into messages and files: no passwords.
        self.name = redact(url)
        options = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS),
            *(cv2.CAP_PROP_N_THREADS, _decoder_threads()),
        ]
        sentence = (
            f"'{self.name}' cannot be read; check the address, the network, and that it is a video "
            "stream (rtsp, http, …)."
        )
        self._start(cv2.VideoCapture(url, cv2.CAP_FFMPEG, options), sentence, sentence)
        frames = _positive(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = None if frames is None else int(frames)
        self.live = self.length is None

    def __iter__(self) -> Iterator[Frame]:
        started, rate, index = None, self.fps or 30.0, -1
        for index, image in enumerate(self._images()):
            now = time.perf_counter()
            started = started or now
            at = now - started if self.live else index / rate
            yield Frame(image, index, at, now, self.number)
            del image
        short = self.length is not None and self.length - index - 1 > max(2, 0.01 * self.length)
        if self.live or short:
            raise SourceError(
                f"The stream '{self.name}' ended after {index + 1} frames; "
                "check the sender and the network."
            )


def open_camera(text: str, options: SourceOptions) -> Source:
    """``0`` or ``/dev/video0``."""
    return CameraSource(int(text.removeprefix("/dev/video")), options)


def open_file(text: str, _: SourceOptions) -> Source:
    """A video file."""
    path = Path(text).expanduser()
    if not os.access(path, os.R_OK):
        raise SourceError(f"'{text}' may not be read; check the permissions of the file.")
    return FileSource(path)


def open_sample(text: str, _: SourceOptions) -> Source:
    """The clip that ships."""
    return FileSource(Path(str(resources.files("edgepose") / "assets" / "sample.mp4")), name=text)


def open_url(text: str, _: SourceOptions) -> Source:
    """Anything that FFmpeg can read by its address."""
    return UrlSource(text)


def _has_ffmpeg() -> bool:
    return cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()


def _no_camera(number: int) -> str:
    there = sorted(
        int(n[5:]) for n in os.listdir("/dev") if n.startswith("video") and n[5:].isdigit()
    )
    remedy = (
        f"these are: {', '.join(map(str, there))}"
        if there
        else "no camera is connected; connect one or give a file with --source"
    )
    return f"Camera {number} is not there; {remedy}."
