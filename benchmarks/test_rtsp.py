"""A network camera that dies again and again: how soon poses come back, and what is never fed.

``EDGEPOSE_RESTARTS=20`` for twenty deaths in one run. A real RTSP server is killed at random
moments, stays away for up to three seconds and listens again at the same address; half way it comes
back with another size. Every fifth time it first stalls for two seconds with its connections open.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import re
import threading
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.process import CLIP
from edgepose.api import estimator, load, load_detector
from edgepose.runner.capture import Feed
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.open import open_source
from tests.rtsp import RtspCamera, need_rtsp, pictures_of

RESTARTS = int(os.environ.get("EDGEPOSE_RESTARTS", "3"))
SIZES = ((360, 640), (272, 480))
_OPENING = 2.5  # seconds to connect, to negotiate, and to the first result of new persons
_STALL = 2.0


@dataclass
class Seen:
    """One result: when it came, and what it held."""

    at: float
    index: int
    time: float
    size: tuple[int, int]
    light: float
    ids: tuple[int, ...]


class Waits(logging.Handler):
    """When the program said how long it waits before it tries again."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[float, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"Next try in ([\d.]+) s", record.getMessage()):
            self.said.append((time.monotonic(), float(found[1])))

    def last_before(self, moment: float) -> float:
        """The wait that was announced last before ``moment``."""
        return [wait for at, wait in self.said if at <= moment][-1]


class Trouble(threading.Thread):
    """Kills the server and starts it again; ``back`` holds when it listened, ``resumed`` poses."""

    def __init__(self, camera: RtspCamera, pictures: list[str], seen: list[Seen]) -> None:
        super().__init__()
        self.camera, self.pictures, self.seen = camera, pictures, seen
        self.back: list[float] = []
        self.resumed: list[float] = []
        self.after_stall: list[float] = []
        self.silent = 0  # stalls in which the run was without frames for long enough to see it
        self.error: BaseException | None = None

    def poses_after(self, moment: float, count: int = 1) -> float:
        """Wait for results with persons that came after ``moment``; when the last of them came."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [seen.at for seen in list(self.seen) if seen.at > moment and seen.ids]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"no poses within a minute, after {len(self.back)} restarts")

    def run(self) -> None:
        try:
            self._make()
        except BaseException as error:  # noqa: BLE001 - it is raised by the test
            self.error = error

    def _make(self) -> None:
        chance = random.Random(0)
        self.poses_after(0, 10)
        for number in range(RESTARTS):
            if number % 5 == 0:
                self.camera.stall()
                stalled = time.monotonic()
                time.sleep(_STALL)
                # What was on its way when it stalled may fill the gap.
                came = [seen.at for seen in list(self.seen) if seen.at > stalled]
                self.silent += time.monotonic() - max(came, default=stalled) > 1.3
                self.camera.go_on()
                gone_on = time.monotonic()
                self.after_stall.append(self.poses_after(gone_on) - gone_on)
            time.sleep(chance.uniform(0, 0.5))
            self.camera.kill()
            time.sleep(chance.uniform(0, 3))
            changed = number >= RESTARTS // 2
            self.camera.start(self.pictures[changed], SIZES[changed])
            self.back.append(time.monotonic())
            self.resumed.append(self.poses_after(self.back[-1]))
            self.poses_after(self.back[-1], 10)


def test_poses_come_back_each_time(benchmark, tmp_path):
    need_rtsp()
    pictures = [pictures_of(CLIP, tmp_path / str(size[0]), size) for size in SIZES]
    seen: list[Seen] = []
    waits, log = Waits(), logging.getLogger("edgepose.runner.lifecycle")
    log.addHandler(waits)
    with RtspCamera(pictures[0], size=SIZES[0], fps=10) as camera:
        again = functools.partial(open_source, camera.url)
        source, cascade = again(), load(backend="onnxruntime")
        estimate = estimator([source], cascade, load_detector(backend="onnxruntime"))
        run = Pipeline([Feed(source, again)], estimate)
        trouble = Trouble(camera, pictures, seen)

        def take() -> None:
            trouble.start()
            with run:
                for result in run:
                    ids = tuple(person.id for person in result.people)
                    size = result.frame.shape[1], result.frame.shape[0]
                    light = float(result.frame.mean())
                    seen.append(Seen(time.monotonic(), result.index, result.time, size, light, ids))
                    if not trouble.is_alive():
                        run.stop()

        benchmark.pedantic(take, rounds=1)
        trouble.join()
        cascade.close()
    log.removeHandler(waits)
    if trouble.error is not None:
        raise trouble.error
    away = np.array(trouble.resumed) - np.array(trouble.back)
    allowed = np.array([waits.last_before(at) for at in trouble.resumed]) + _OPENING
    lives = np.searchsorted(trouble.back, [one.at for one in seen])
    numbers = [
        {i for one, n in zip(seen, lives, strict=True) if n == life for i in one.ids}
        for life in range(RESTARTS + 1)
    ]
    benchmark.extra_info.update(
        {
            "restarts": run.stats.sources[0].reconnects,
            "stalls": run.stats.sources[0].stalls,
            "poses after, s (median, worst)": [round(float(f(away)), 2) for f in (np.median, max)],
            "announced wait, s (median, longest)": [
                round(float(f(allowed - _OPENING)), 2) for f in (np.median, max)
            ],
            "after a stall, s": [round(value, 2) for value in trouble.after_stall],
            "results": len(seen),
            "darkest frame": round(min(one.light for one in seen), 1),
            "ids of each life": [sorted(life) for life in numbers],
        }
    )
    assert run.stats.sources[0].reconnects == RESTARTS
    assert run.stats.sources[0].stalls >= trouble.silent > 0
    assert (away <= allowed).all(), (away, allowed)
    assert max(trouble.after_stall) < 1.5
    assert min(one.light for one in seen) > 20
    assert {one.size for one in seen} == set(SIZES)
    assert (np.diff([(one.index, one.time) for one in seen], axis=0) > 0).all()
    # An id is that of the same person: it goes on over a short loss, or is a new one.
    highest = 0
    for before, after in zip([set(), *numbers], numbers, strict=False):
        assert all(number > highest or number in before for number in after), numbers
        highest = max(after, default=highest)
    assert highest <= 3 * (RESTARTS + 1)
