"""All sources, one cascade call: boxes of all frames at hand go in, persons with ids come out."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.cascade import Cascade, Pending
from edgepose.cascade.workers import Workers
from edgepose.people.detector import PersonDetector
from edgepose.people.follower import Memory, Size
from edgepose.people.looking import Look, Lookout
from edgepose.types import Float, Frame, Poses, Result


@dataclass(slots=True)
class _Part:
    """One frame of a step: its persons are ``rows`` of the cascade call."""

    frame: Frame
    size: Size
    rows: slice
    seconds: dict[str, float]


@dataclass(slots=True)
class _Step:
    """One cascade call; ``pending`` None where nobody is to be estimated."""

    parts: list[_Part]
    pending: Pending | None
    done: bool = False


class Estimator:
    """A memory per source, and the boxes of all frames at hand in one cascade call.

    Steps overlap, as many as the cascade is deep: the boxes of a frame come from stage 1's estimate
    of the frame ``lanes`` before it, moved on, and the detector's boxes are taken up ``depth``
    steps later, so that nobody waits for the last stage or the detector unless nobody is being
    followed.

    With ``exact``, what a frame's boxes depend on is fixed: everything up to ``depth`` frames
    before it, never more because somebody was faster, so that files give the same numbers in every
    run. Without, what is there is used at once, and :meth:`results` gives it as soon as it is.
    """

    def __init__(
        self,
        cascade: Cascade,
        detector: PersonDetector,
        memories: Mapping[int, Memory],
        *,
        exact: bool,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``memories`` by source number; ``wake`` is called when a step is done, if not exact."""
        self._cascade, self._memories, self._exact = cascade, dict(memories), exact
        self._depth = max(1, cascade.depth)
        self.pool = cascade.pool  # where frames should lie
        # Pictures that have nothing to do with each other have nobody to know again.
        followed = not all(memory.one_by_one for memory in memories.values())
        self._lookout = Lookout(detector, colours=followed)
        self._looks: deque[Look] = deque()
        self._flying: deque[_Step] = deque()
        self._results: list[Result] = []
        self._sizes: dict[int, Size] = {}
        self._steps = 0
        self._ready_at = 0.0
        self.wake = wake
        self._watchers = Workers("finish", [self._watch], waiting=self._depth)

    @property
    def ready_at(self) -> float:
        """When, on ``time.perf_counter()``, a live frame is best taken.

        One that is taken earlier only grows old between two stages.
        """
        return 0.0 if self._exact or not self._flying else self._ready_at

    @property
    def waiting(self) -> bool:
        """Whether :meth:`results` has something to give at once."""
        return bool(self._results) or (not self._exact and self._head_done())

    def submit(self, frames: Sequence[Frame]) -> None:
        """Begin the estimate of ``frames``, at most one a source; they must stay unchanged."""
        while len(self._flying) >= self._depth or (not self._exact and self._head_done()):
            self._finish()
        self._preview()
        parts = [_Part(frame, _size(frame), slice(0), {}) for frame in frames]
        for part in parts:
            if self._sizes.setdefault(part.frame.source, part.size) != part.size:
                self._sizes[part.frame.source] = part.size
                self._memory(part).restart()
        self._look(parts)
        boxes = self._propose(parts)
        step = _Step(parts, None)
        if len(boxes):
            index = np.repeat(np.arange(len(parts)), [p.rows.stop - p.rows.start for p in parts])
            step.pending = self._cascade.submit(frames, boxes, index)
        step.done = step.pending is None
        self._steps += 1
        self._ready_at = time.perf_counter() + self._cascade.pace
        self._flying.append(step)
        if not self._exact and not step.done:
            self._watchers.put(step)

    def results(self) -> list[Result]:
        """What is done and has not been given yet, in order; waits for nothing."""
        while not self._exact and self._head_done():
            self._finish()
        results, self._results = self._results, []
        return results

    def flush(self) -> list[Result]:
        """Wait for everything under way and give it."""
        while self._flying:
            self._finish()
        return self.results()

    def close(self) -> None:
        """End the threads; the cascade is its owner's to close."""
        self._lookout.close()
        self._watchers.close()

    def _memory(self, part: _Part) -> Memory:
        return self._memories[part.frame.source]

    def _head_done(self) -> bool:
        return bool(self._flying) and self._flying[0].done

    def _watch(self, step: _Step) -> None:
        assert step.pending is not None
        # What it raises is raised again where the step is finished.
        with contextlib.suppress(BaseException):
            step.pending.result()
        step.done = True
        self.wake()

    def _preview(self) -> None:
        """Stage 1 of an earlier step says where its persons were: the next boxes go on from there.

        It is the newest step that leaves no lane of stage 1 idle. If it is finished already, the
        last stage has said so, and better.
        """
        lanes = self._cascade.lanes
        if len(self._flying) < lanes:
            return
        step = self._flying[-lanes]
        if step.pending is None:
            return
        joints, scores = step.pending.stage(1)
        for part in step.parts:
            self._memory(part).preview(
                part.frame.time, joints[part.rows], scores[part.rows], part.size
            )

    def _look(self, parts: list[_Part]) -> None:
        """Send the detector on its way, and take what it has found before."""
        wanted = [part for part in parts if self._memory(part).wants_detector]
        for part in wanted:
            self._memory(part).look()
        memories = [self._memory(part) for part in parts]
        waits = all(m.idle for m in memories) or any(m.one_by_one for m in memories)
        if wanted:
            self._looks.append(self._lookout.begin([p.frame for p in wanted], self._steps))
        sources = {part.frame.source: part for part in parts}
        while self._looks:
            look = self._looks[0]
            late = look.step <= self._steps - self._depth
            if not (late or waits or (look.done and not self._exact)):
                break
            self._looks.popleft()
            for frame, found, colours, seconds in look.result():
                if frame.source in sources:
                    sources[frame.source].seconds["detect"] = seconds
                if self._sizes[frame.source] == _size(frame):
                    self._memories[frame.source].detected(frame.time, found, colours)

    def _propose(self, parts: list[_Part]) -> Float:
        """Boxes (P, 4) of all frames, one after the other."""
        boxes, count = [np.zeros((0, 4), np.float32)], 0
        for part in parts:
            start = time.perf_counter()
            boxes.append(self._memory(part).propose(part.frame.time))
            part.rows = slice(count, count + len(boxes[-1]))
            count = part.rows.stop
            part.seconds["track"] = time.perf_counter() - start
        return np.concatenate(boxes)

    def _finish(self) -> None:
        """Take the oldest step's poses, waiting for them."""
        step = self._flying.popleft()
        k = len(self._cascade.skeleton)
        poses = Poses([np.zeros((0, k, 2), np.float32)], [np.zeros((0, k), np.float32)])
        if step.pending is not None:
            poses = step.pending.result()
        for part in step.parts:
            start, frame = time.perf_counter(), part.frame
            people = self._memory(part).update(
                frame.time, poses.joints[part.rows], poses.scores[part.rows], part.size
            )
            track = part.seconds.pop("track") + time.perf_counter() - start
            self._results.append(
                Result(
                    index=frame.index,
                    time=frame.time,
                    image=frame.image,
                    people=people,
                    captured=frame.captured,
                    seconds={**frame.seconds, **part.seconds, **poses.seconds, "track": track},
                    name=frame.name,
                    source=frame.source,
                )
            )


def _size(frame: Frame) -> Size:
    return frame.image.shape[1], frame.image.shape[0]
