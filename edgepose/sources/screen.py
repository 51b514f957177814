"""The screen as a source, through mss."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from edgepose.errors import SourceError
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Frame, Image, as_image

_RATE = 30.0


def open_screen(text: str, options: SourceOptions) -> Source:
    """``screen`` for the first monitor, ``screen:2`` for the second, …"""
    return ScreenSource(int(text.partition(":")[2] or 1), options)


class ScreenSource(Source):
    """One monitor. Live: the newest frame counts."""

    live = True

    def __init__(self, monitor: int, options: SourceOptions) -> None:
        """Take the first picture of ``monitor``, from 1; SourceError where there is none."""
        try:
            import mss
        except ImportError:
            raise SourceError('The screen needs mss: pip install "edgepose[screen]".') from None
        self.name = "screen" if monitor == 1 else f"screen {monitor}"
        self.fps = options.fps or _RATE
        try:
            self._screen = mss.MSS()
            monitors = self._screen.monitors[1:]
        except Exception as error:  # noqa: BLE001 - each platform raises its own
            reason = str(error).rstrip(".")
            raise SourceError(
                f"There is no screen to read ({reason}); set DISPLAY, or give another source."
            ) from None
        if not 1 <= monitor <= len(monitors):
            self._screen.close()
            raise SourceError(f"There is no monitor {monitor}; there are {len(monitors)}.")
        self._area = monitors[monitor - 1]
        self.width, self.height = self._area["width"], self._area["height"]

    def __iter__(self) -> Iterator[Frame]:
        assert self.fps is not None
        started, index = time.perf_counter(), 0
        while True:
            now = time.perf_counter()
            yield Frame(self._grab(), index, now - started, now, self.number)
            index += 1
            time.sleep(max(0.0, now + 1 / self.fps - time.perf_counter()))

    def _grab(self) -> Image:
        shot = self._screen.grab(self._area)
        pixels = np.frombuffer(shot.bgra, np.uint8).reshape(shot.height, shot.width, 4)
        return as_image(np.ascontiguousarray(pixels[:, :, :3]))

    def close(self) -> None:
        """Let the screen go."""
        self._screen.close()
