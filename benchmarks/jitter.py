"""Jitter of followed joints, with and without smoothing.

    python benchmarks/jitter.py sample clip.mp4 …

Median acceleration of joints at rest and in motion, in torso diameters per second². Only runs of
consecutive frames of one id enter.
"""

import sys

import numpy as np

import edgepose
from edgepose.evaluate.motion import jitter
from edgepose.geometry import torso_diameter
from edgepose.skeleton import LSP14


def tracks(source: str, smooth: bool) -> tuple[list[tuple[np.ndarray, float]], float]:
    """Joints (T, k, 2) and torso of every unbroken run of an id, and the frame rate."""
    runs: dict[int, list[list[np.ndarray]]] = {}
    last: dict[int, int] = {}
    times = []
    for result in edgepose.stream(source, smooth=smooth):
        times.append(result.time)
        for person in result.people:
            if last.get(person.id) != result.index - 1:
                runs.setdefault(person.id, []).append([])
            runs[person.id][-1].append(person.joints)
            last[person.id] = result.index
    joined = [np.stack(run) for several in runs.values() for run in several]
    fps = 1 / float(np.median(np.diff(times)))
    return [(run, float(np.median(torso_diameter(run, LSP14)))) for run in joined], fps


print(f"{'clip':28} {'at rest':>8} {'smoothed':>9}   {'moving':>8} {'smoothed':>9}   share at rest")
for source in sys.argv[1:]:
    raw, smoothed = (jitter(*tracks(source, smooth)) for smooth in (False, True))
    assert smoothed.still < raw.still
    name = source.rsplit("/", 1)[-1]
    print(
        f"{name:28} {raw.still:8.1f} {smoothed.still:9.1f}   {raw.moving:8.1f} "
        f"{smoothed.moving:9.1f}   {raw.share:.2f}"
    )
