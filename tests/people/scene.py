"""A made-up scene as a detector and a cascade of two stages: what is in a frame tells its time."""

from __future__ import annotations

import random
import threading
import time

import numpy as np

from edgepose.skeleton import COCO17
from edgepose.types import Frame, Poses
from tests.people.world import World

FPS = 30


def frame(n: int, source: int = 0, size=(64, 48)) -> Frame:
    """Frame ``n`` of ``source``: its first pixels hold both numbers."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[0, 0] = n % 256, n // 256, source
    return Frame(image, n, n / FPS, time.perf_counter(), source)


def read(image: np.ndarray) -> tuple[float, int]:
    """Time and source of a frame."""
    low, high, source = map(int, image[0, 0])
    return (low + 256 * high) / FPS, source


class SceneDetector:
    """What a world's detector says of each source; ``wait`` seconds at most."""

    def __init__(self, worlds: list[World], wait: float = 0.0) -> None:
        self.worlds, self.wait, self.looked = worlds, wait, []

    def __call__(self, image):
        t, source = read(image)
        self.looked.append((source, round(t * FPS)))
        time.sleep(random.random() * self.wait)
        return exactly(self.worlds[source], t).detect(t)


class SceneCascade:
    """Two stages; the first is off by some pixels. Each takes up to ``wait`` seconds."""

    skeleton = COCO17
    description = "a scene"
    depth, lanes, pool = 2, 1, None

    def __init__(self, worlds: list[World], wait: float = 0.0, pace: float = 0.0) -> None:
        self.worlds, self.wait, self.pace = worlds, wait, pace
        self.calls, self.flying, self.most = [], 0, 0
        self._lock = threading.Lock()

    def submit(self, frames, boxes, frame_index):
        assert len(boxes) == len(frame_index) > 0
        self.calls.append((len(frames), boxes.copy()))
        with self._lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        return ScenePending(self, frames, boxes, frame_index)


class ScenePending:
    def __init__(self, cascade, frames, boxes, index):
        self.cascade, self.frames, self.boxes, self.index = cascade, frames, boxes, index
        self.done = [threading.Event(), threading.Event()]
        self.found = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        rows = []
        for box, i in zip(self.boxes, self.index, strict=True):
            t, source = read(self.frames[i].image)
            joints, scores = exactly(self.cascade.worlds[source], t).estimate(t, box[None])
            rows.append((joints[0], scores[0]))
        joints, scores = (np.stack(part) for part in zip(*rows, strict=True))
        for stage, off in enumerate((3, 0)):
            time.sleep(random.random() * self.cascade.wait)
            self.found.append((joints + np.float32(off), scores))
            if stage == 1:
                with self.cascade._lock:
                    self.cascade.flying -= 1
            self.done[stage].set()

    def stage(self, number):
        self.done[number - 1].wait(10)
        return self.found[number - 1]

    def result(self):
        self.stage(2)
        joints, scores = zip(*self.found, strict=True)
        return Poses(list(joints), list(scores), {"stage 1": 0.5, "stage 2": 0.25})


def exactly(world: World, t: float) -> World:
    """The world with noise that depends on the time alone."""
    return World(*world.actors, size=world.size, noise=world.noise, seed=round(t * FPS))
