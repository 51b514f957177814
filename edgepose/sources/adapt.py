"""A source as the user wants it: scaled, turned, thinned out, played as live, played again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2

from edgepose.errors import SourceError
from edgepose.nv12 import NV12, as_bgr
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Frame, Image, as_image

_TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_RATE = 30.0


def adapted(make: Callable[[], Source], options: SourceOptions) -> Source:
    """What ``make`` opens, as it is where it already is what ``options`` ask for."""
    if options.rotate % 360 not in (0, *_TURNS):
        raise SourceError(f"A frame cannot be turned by {options.rotate}; give 90, 180 or 270.")
    source = make()
    size = (source.width, source.height)
    scaled = options.size is not None and options.size != size
    thinned = options.fps is not None and (source.fps is None or options.fps < 0.99 * source.fps)
    paced = options.live and not source.live
    again = options.loop and not source.live
    if scaled or thinned or paced or again or options.rotate % 360:
        return Adapted(source, make, replace(options, live=paced, loop=again))
    return source


class Adapted(Source):
    """A source whose frames are scaled, turned, thinned out by time, paced or looped."""

    def __init__(self, source: Source, make: Callable[[], Source], options: SourceOptions) -> None:
        self._source, self._make, self._options = source, make, options
        self._turn = _TURNS.get(options.rotate % 360)
        self.name, self.number, self.path = source.name, source.number, source.path
        self.width, self.height = options.size or (source.width, source.height)
        self._scaled = options.size not in (None, (source.width, source.height))
        if options.rotate % 180:
            self.width, self.height = self.height, self.width
        known = [rate for rate in (source.fps, options.fps) if rate is not None]
        self.fps = min(known) if known else None
        whole = not options.loop and (source.fps is None or self.fps == source.fps)
        self.length = source.length if whole else None
        self.live = source.live or options.live
        self.continuous = source.continuous

    def __iter__(self) -> Iterator[Frame]:
        began, index, due = time.perf_counter(), 0, 0.0
        step = 0.0 if self._options.fps is None else 1 / self._options.fps
        gap = 1 / (self._source.fps or _RATE)
        shift = last = 0.0
        while True:
            # What is scaled or turned gets there with that.
            self._source.pool = None if self._scaled or self._turn is not None else self.pool
            for frame in self._source:
                at = last = frame.time + shift
                if step:
                    # Half a frame early is on time: a rate of 30 from 60 takes every second one.
                    if at < due - gap / 2:
                        continue
                    due = max(due + step, at)
                captured = frame.captured
                if self._options.live:
                    late = time.perf_counter() - (began + at)
                    time.sleep(max(0.0, -late))
                    # What cannot be read fast enough plays slower: a camera gives no old frames.
                    began += late if late > gap else 0.0
                    captured = began + at
                yield replace(
                    frame, image=self._fit(frame), index=index, time=at, captured=captured
                )
                # Not held here while the next one is read: a frame is megabytes.
                del frame
                index += 1
            if not self._options.loop:
                return
            self._source.close()
            self._source = self._make()
            shift = last + gap

    def _fit(self, frame: Frame) -> Image | NV12:
        size = self._options.size
        scaled = size is not None and (frame.image.shape[1], frame.image.shape[0]) != size
        if not scaled and self._turn is None:
            return frame.image
        image = as_bgr(frame.image)
        if size is not None and scaled:
            smaller = size[0] < image.shape[1]
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            room = self._lent((size[1], size[0], 3)) if self._turn is None else None
            image = as_image(cv2.resize(image, size, room, interpolation=how))
        if self._turn is None:
            return image
        return as_image(cv2.rotate(image, self._turn, self._lent((self.height, self.width, 3))))

    def close(self) -> None:
        """Close what is read."""
        self._source.close()
