"""Made-up sources, and estimators for them."""

from __future__ import annotations

import time

import numpy as np

from edgepose.errors import SourceError
from edgepose.people.estimator import Estimator
from edgepose.people.follower import Follower
from edgepose.people.options import TrackerOptions
from edgepose.runner.capture import Feed
from edgepose.runner.pipeline import Pipeline
from edgepose.skeleton import COCO17
from edgepose.sources.source import Source
from edgepose.types import Frame
from tests.people.scene import SceneCascade

EVERY = TrackerOptions(detect_every=1, search_every=1)


class Counting(Source):
    """Numbers as small frames; ``fails`` after so many, ``period`` seconds apart."""

    def __init__(
        self,
        length=20,
        live=False,
        period=0.0,
        fails=None,
        name="counting",
        size=(4, 4),
        hangs=None,
    ):
        self.length, self.live, self.period, self.fails = length, live, period, fails
        self.name, (self.width, self.height), self.hangs = name, size, hangs
        self.given, self.closed = 0, False

    def __iter__(self):
        started = time.perf_counter()
        for i in range(self.length):
            if self.fails == i:
                raise SourceError("It broke.")
            if self.hangs is not None and i == self.hangs[0]:
                self.hangs[1].wait(20)
            if self.period:
                time.sleep(self.period)
            self.given += 1
            now = time.perf_counter()
            image = np.full((self.height, self.width, 3), i % 256, np.uint8)
            yield Frame(image, i, now - started if self.live else i / 30, now)

    def close(self):
        self.closed = True


def nobody(image):
    """A detector that finds nobody."""
    return np.zeros((0, 5), np.float32)


class Slow:
    """A detector that finds nobody, and takes its time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, image):
        time.sleep(self.seconds)
        return nobody(image)


def pipeline(*sources, detector=nobody, cascade=None, reopen=None, **options) -> Pipeline:
    """A run over made-up sources in which the detector looks at every frame."""
    memories = {n: Follower(COCO17, EVERY) for n in range(len(sources))}
    exact = not any(source.live for source in sources)
    estimator = Estimator(cascade or SceneCascade([]), detector, memories, exact=exact)
    feeds = [Feed(s, (reopen or {}).get(n)) for n, s in enumerate(sources)]
    return Pipeline(feeds, estimator, **options)
