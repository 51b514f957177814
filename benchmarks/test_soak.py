"""A camera that is left on: what the program holds, and how old its frames are, early and late.

``EDGEPOSE_SOAK_SECONDS=3600`` for an hour. The clip loops at 10 frames a second as a camera would,
all outputs that last are on, and every minute somebody opens the live page and leaves again.
"""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from benchmarks.ages import read
from benchmarks.process import Held, held, retimed, start
from benchmarks.viewer import Viewer, port_of

SECONDS = float(os.environ.get("EDGEPOSE_SOAK_SECONDS", "90"))
WARM, WINDOW = max(30.0, SECONDS / 12), SECONDS / 6
_EVERY, _VISIT = 60.0, 10.0


def test_an_hour_leaves_nothing_behind(benchmark, tmp_path):
    clip, ages, log = (
        retimed(tmp_path / "slow.mp4", (360, 640), 10.0),
        tmp_path / "ages",
        tmp_path / "log",
    )
    outputs = ["--json", tmp_path / "p.jsonl", "--csv", tmp_path / "p.csv"]
    outputs += ["--out", tmp_path / "o.mp4", "--serve", 0, "--ages", ages]
    seen: list[tuple[float, Held]] = []

    def soak() -> None:
        process = start(["--source", clip, "--loop", "--live", *outputs], log)
        try:
            port = port_of(log)
            begun = time.perf_counter()
            while (now := time.perf_counter() - begun) < WARM + SECONDS:
                assert process.poll() is None, log.read_text()
                if now % _EVERY < _EVERY - _VISIT:
                    seen.append((time.perf_counter(), held(process.pid)))
                    time.sleep(1)
                    continue
                with Viewer(port) as viewer:
                    time.sleep(_VISIT)
                assert viewer.bytes > 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 130, log.read_text()
        finally:
            process.kill()

    benchmark.pedantic(soak, rounds=1)
    notes = read(ages)
    from_, to = seen[0][0] + WARM, seen[-1][0]
    first, last = (from_, from_ + WINDOW), (to - WINDOW, to)
    when = np.array([at for at, _ in seen])
    what = np.array([kept for _, kept in seen], np.float64)
    early, late = (what[(when >= a) & (when <= b)] for a, b in (first, last))
    growth = np.median(late[:, 0]) / np.median(early[:, 0]) - 1
    p99 = [
        float(np.percentile(notes[(notes[:, 0] >= a) & (notes[:, 0] <= b), 1], 99))
        for a, b in (first, last)
    ]
    p50 = float(np.median(notes[:, 1]))
    benchmark.extra_info.update(
        {
            "minutes": SECONDS / 60,
            "results": len(notes),
            "memory, MB": [round(np.median(part[:, 0]) / 1e6, 1) for part in (early, late)],
            "growth, %": round(100 * growth, 2),
            "age p50, ms": round(1e3 * p50, 1),
            "age p99 first and last, ms": [round(1e3 * value, 1) for value in p99],
            "descriptors": [int(np.median(part[:, 1])) for part in (early, late)],
            "threads": [int(np.median(part[:, 2])) for part in (early, late)],
        }
    )
    assert growth <= 0.01
    assert p99[1] <= 1.1 * p99[0]
    assert (np.median(late[:, 1:], 0) <= np.median(early[:, 1:], 0)).all()
