"""What bringing a frame to a device costs the thread that submits it.

    pytest benchmarks/test_upload.py -s

A picture that was read into memory that the cascade lends goes up from where it lies; any other is
copied into pinned memory first. The device is the one that is none, whose copies up run later: what
is measured is the host's part alone, beside what decoding a frame of the sample costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from edgepose.cascade.device_frames import FrameStore
from edgepose.cuda.host import HostDevice
from edgepose.cuda.pool import PinnedPool
from edgepose.sources.open import open_source


def cpu(work: Callable[[], object], rounds: int = 30) -> float:
    """Median CPU seconds of this thread."""
    taken = []
    for _ in range(rounds):
        begun = time.thread_time()
        work()
        taken.append(time.thread_time() - begun)
    return float(np.median(taken))


@pytest.mark.parametrize("shape", [(1080, 1920, 3), (1920, 1080, 3)])
def test_a_frame(benchmark, capsys, shape):
    device = HostDevice("late")
    pool, store, stream = PinnedPool(device), FrameStore(device, False), device.stream()
    own = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    lent = pool.take(shape)
    assert lent is not None
    lent[...] = own

    def put(image):
        table = store.put([image], stream)
        assert (table["height"][0], table["width"][0]) == shape[:2]

    put(own)  # memory is taken once
    copied = cpu(lambda: put(own))
    as_it_lies = benchmark.pedantic(cpu, (lambda: put(lent),), rounds=1)
    with open_source("sample") as source:
        frames = iter(source)
        begun, rounds = time.process_time(), 30
        for _ in range(rounds):
            next(frames)
        decoding = (time.process_time() - begun) / rounds
    stream.synchronize()
    milliseconds = {"copied": copied, "as it lies": as_it_lies, "decoding": decoding}
    milliseconds = {name: 1e3 * seconds for name, seconds in milliseconds.items()}
    benchmark.extra_info |= milliseconds
    with capsys.disabled():
        print(shape, " ".join(f"{k} {v:.3f} ms" for k, v in milliseconds.items()))
    assert as_it_lies < copied / 3
