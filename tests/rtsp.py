"""A real RTSP camera for tests: starts, stalls, dies and comes back at the same address."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import cv2
import pytest

_PYTHON = "/usr/bin/python3"
_PROGRAM = Path(__file__).with_name("rtsp_server.py")
_CHECK = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert Gst.ElementFactory.find('rtpjpegpay') and Gst.ElementFactory.find('multifilesrc')"
)


def need_rtsp() -> None:
    """Skip the test where Debian's gst-rtsp-server is not installed (``make test`` does it)."""
    try:
        done = subprocess.run([_PYTHON, "-c", _CHECK], capture_output=True, check=False, timeout=60)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi")


def pictures_of(clip: Path, folder: Path, size: tuple[int, int], count: int = 40) -> str:
    """JPEGs of the first frames of ``clip`` at ``size``; the pattern of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    capture = cv2.VideoCapture(str(clip))
    for i in range(count):
        ok, frame = capture.read()
        assert ok
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), small)
    capture.release()
    return str(folder / "%03d.jpg")


class RtspCamera:
    """One camera; ``url`` stays the same over restarts. Sizes are multiples of 8 below 2040."""

    def __init__(self, pattern: str, size=(360, 640), fps=25, user="", password="") -> None:
        self.pattern, self.size, self.fps = pattern, size, fps
        self._login = [user, password] if user else []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://{f'{user}:{password}@' if user else ''}127.0.0.1:{self.port}/live"
        self._process: subprocess.Popen | None = None

    def start(self, pattern: str | None = None, size: tuple[int, int] | None = None) -> None:
        """Listen at ``url``; with other pictures or another size from now on, if given."""
        self.pattern, self.size = pattern or self.pattern, size or self.size
        facts = [self.port, self.pattern, *self.size, self.fps, *self._login]
        self._process = subprocess.Popen(
            [_PYTHON, str(_PROGRAM), *map(str, facts)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    def stall(self) -> None:
        """Send nothing, but keep connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Die at once, as when its plug is pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> RtspCamera:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
