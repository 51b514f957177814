"""Where the frames of all sources meet: at most one a source for every step of the estimator."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from edgepose.runner.channel import EndOfStreamError
from edgepose.runner.policy import DropPolicy
from edgepose.types import Frame

WINDOW = 0.004  # seconds from the first live frame on in which others join it


class _Lane:
    """The frames of one source that wait."""

    def __init__(self, policy: DropPolicy, live: bool) -> None:
        self.policy, self.live = policy, live
        self.frames: deque[Frame] = deque()
        self.ended = False
        self.dropped = 0

    def forget_old(self, now: float) -> None:
        oldest = self.policy.max_age
        while oldest is not None and self.frames and now - self.frames[0].captured > oldest:
            self.frames.popleft()
            self.dropped += 1


class Collector:
    """Takes frames from a thread per source and gives them out together, source by source.

    Sources that are not live move in step: their frames come together, one of each that has not
    ended, so that a run over files is the same every time. Live ones join if they have a frame
    within a short window of the first.
    """

    def __init__(self, lanes: Sequence[tuple[DropPolicy, bool]], window: float = WINDOW) -> None:
        """``lanes``: for each source its policy and whether it is live."""
        self._lanes = [_Lane(policy, live) for policy, live in lanes]
        self._window = window
        self._changed = threading.Condition(threading.Lock())

    def put(self, frame: Frame) -> bool:
        """Hand over a frame of source ``frame.source``; False when nobody wants more of it."""
        lane = self._lanes[frame.source]
        with self._changed:
            while (
                len(lane.frames) >= lane.policy.capacity
                and not lane.policy.drops
                and not lane.ended
            ):
                self._changed.wait()
            if lane.ended:
                return False
            while len(lane.frames) >= lane.policy.capacity:
                lane.frames.popleft()
                lane.dropped += 1
            lane.frames.append(frame)
            self._changed.notify_all()
            return True

    def end(self, source: int, forget: bool = False) -> None:
        """No frame of ``source`` follows; ``forget`` also those that wait."""
        lane = self._lanes[source]
        with self._changed:
            lane.ended = True
            if forget:
                lane.frames.clear()
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nobody wants any frame any more."""
        for source in range(len(self._lanes)):
            self.end(source, forget=True)

    def wake(self) -> None:
        """Let :meth:`get` look at its ``interrupt`` again."""
        with self._changed:
            self._changed.notify_all()

    def dropped(self, source: int) -> int:
        """Frames of ``source`` that made room for newer ones or grew too old."""
        return self._lanes[source].dropped

    def get(
        self,
        ready_at: Callable[[], float] = lambda: 0.0,
        interrupt: Callable[[], bool] = lambda: False,
    ) -> list[Frame]:
        """Frames for one step, by source; an empty list as soon as ``interrupt()`` holds.

        Live frames are taken not before ``ready_at()``, a time of ``time.perf_counter()``. Raises
        :class:`EndOfStreamError` when every source has ended and all frames are given.
        """
        first: float | None = None
        with self._changed:
            while True:
                if interrupt():
                    return []
                now = time.perf_counter()
                for lane in self._lanes:
                    lane.forget_old(now)
                lanes = [lane for lane in self._lanes if lane.frames or not lane.ended]
                if not lanes:
                    raise EndOfStreamError
                wait = None
                if any(lane.frames for lane in lanes):
                    first = first or now
                    wait = self._wait(lanes, first, ready_at(), now)
                    if wait <= 0:
                        taken = [lane.frames.popleft() for lane in lanes if lane.frames]
                        self._changed.notify_all()
                        return taken
                else:
                    first = None
                self._changed.wait(wait)

    def _wait(self, lanes: list[_Lane], first: float, ready_at: float, now: float) -> float:
        """Seconds to wait for company or for the estimator; 0 to go."""
        missing = [lane for lane in lanes if not lane.frames]
        live = any(lane.live for lane in lanes)
        if any(not lane.live for lane in missing) and not live:
            return 1.0  # files come in step; the one that is missing wakes us
        wait = ready_at - now if live else 0.0
        return max(wait, first + self._window - now) if missing else wait
