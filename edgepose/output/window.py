"""Frames in a window on the screen. No part of the GUI is loaded before a window is opened."""

from __future__ import annotations

import os
import socket
import sys

import cv2

from edgepose.errors import OutputError
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo

_TITLE = "edgepose (q quits)"
_MOST = (1280, 900)


class Window(Sink):
    """A window for each source, scaled to fit the screen. Use it from the main thread only."""

    def __init__(self) -> None:
        """OutputError where there is no display."""
        if sys.platform.startswith("linux") and not _has_display():
            raise OutputError(
                "There is no display to show a window on; leave out --show, or set DISPLAY (over "
                "ssh: ssh -X)."
            )
        self._titles: list[str] = []

    def start(self, run: RunInfo) -> None:
        """Open the windows; OutputError where OpenCV has none."""
        try:
            for source in run.sources:
                title = _TITLE if len(run.sources) == 1 else f"{source.name} - {_TITLE}"
                if title in self._titles:
                    title = f"{len(self._titles)} {title}"
                cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                scale = min(1.0, _MOST[0] / source.width, _MOST[1] / source.height)
                cv2.resizeWindow(title, round(source.width * scale), round(source.height * scale))
                self._titles.append(title)
        except cv2.error:
            raise OutputError(
                "This OpenCV has no windows; leave out --show, or install opencv-python in place "
                "of opencv-python-headless."
            ) from None

    def write(self, result: Result) -> bool:
        """Show the frame; False once the user closed a window or hit q."""
        title = self._titles[result.source]
        cv2.imshow(title, result.frame)
        key = cv2.waitKey(1) & 0xFF
        if key in (ord("q"), 27):
            return False
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the windows."""
        if self._titles:
            self._titles.clear()
            cv2.destroyAllWindows()


def _has_display() -> bool:
    """Whether somebody serves the display: Qt ends the process where nobody does."""
    if os.environ.get("WAYLAND_DISPLAY") and cv2.currentUIFramework() != "QT":
        return True
    host, colon, number = os.environ.get("DISPLAY", "").rpartition(":")
    number = number.partition(".")[0]
    if not colon or not number.isdecimal():
        return False
    if host not in ("", "unix"):
        return _answers(socket.AF_INET, (host, 6000 + int(number)))
    path = f"/tmp/.X11-unix/X{number}"
    return _answers(socket.AF_UNIX, path) or _answers(socket.AF_UNIX, "\0" + path)


def _answers(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
