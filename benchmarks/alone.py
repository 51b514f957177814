"""CPU milliseconds a frame of what a run cannot do without, each measured alone: prints JSON.

``python -m benchmarks.alone CLIP PERSONS FRAMES``: decoding, the detector and the cascade for as
many persons, one after the other with a thread each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

import edgepose

MAN = np.array([230, 310, 575, 1180], np.float32)  # in the sample's first frame


def cost(call: Callable[[], object], times: int) -> float:
    """CPU milliseconds of one call, after one to warm up."""
    call()
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times * 1e3


def decode(clip: str) -> Callable[[], int]:
    """Reads every frame and keeps none."""

    def read() -> int:
        with edgepose.open_source(clip) as source:
            return sum(1 for _ in source)

    return read


if __name__ == "__main__":
    clip, persons, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with edgepose.open_source(clip) as source:
        frames = [frame.image for frame in source]
    cascade, detector = edgepose.load(threads=1), edgepose.load_detector(threads=1)
    boxes = MAN + np.arange(persons, dtype=np.float32)[:, None] * 7
    turn = iter(range(10**9))
    print(
        json.dumps(
            {
                "decode": cost(decode(clip), max(1, times // len(frames))) / len(frames),
                "cascade": cost(lambda: cascade(frames[next(turn) % len(frames)], boxes), times),
                "detector": cost(lambda: detector(frames[next(turn) % len(frames)]), times // 4),
            }
        )
    )
