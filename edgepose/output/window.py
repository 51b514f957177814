"""Frames in a window on the screen. No part of the GUI is loaded before a window is opened."""

from __future__ import annotations

import os
import socket
import sys

import cv2

from edgepose.errors import OutputError
from edgepose.types import Image

_TITLE = "edgepose (q quits)"
_MOST = (1280, 900)


class Window:
    """One window, scaled to fit the screen. Use it from the main thread only."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Open a window for frames of ``size`` (width, height); OutputError where none can be."""
        if sys.platform.startswith("linux") and not _has_display():
            raise OutputError(
                "There is no display to show a window on; leave out --show, or set DISPLAY (over "
                "ssh: ssh -X)."
            )
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            scale = min(1.0, _MOST[0] / size[0], _MOST[1] / size[1])
            cv2.resizeWindow(_TITLE, round(size[0] * scale), round(size[1] * scale))
        except cv2.error:
            raise OutputError(
                "This OpenCV has no windows; leave out --show, or install opencv-python in place "
                "of opencv-python-headless."
            ) from None

    def show(self, frame: Image) -> bool:
        """Show ``frame`` (H, W, 3) uint8 BGR; False once the user closed the window or hit q."""
        cv2.imshow(_TITLE, frame)
        key = cv2.waitKey(1) & 0xFF
        if key in (ord("q"), 27):
            return False
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
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
