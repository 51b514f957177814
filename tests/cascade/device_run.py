"""The device cascade held to HostCascade, as a program of its own: ``device_run.py FRAMES``.

In the environment of :mod:`tests.sanitized`, sanitizers watch every access of the kernels. Freed
memory goes back to the system, so that they see who still reads it.
"""

from __future__ import annotations

import sys

import numpy as np

from tests import sanitized
from tests.cascade.made_up import Smooth, crowd, made_up

SIZES = [(96, 130), (64, 50), (150, 211)]  # height, width: memory for frames is made anew


def worst(frames: int) -> float:
    """Largest difference, pixels, over frames of 0 to 9 persons, two of them in flight.

    Buckets of 1, 2 and 4 persons, two of which are kept: they are evicted and made again. Every
    other frame lies in lent memory.
    """
    from edgepose.backends.host_device import HostDeviceBackend
    from edgepose.cascade.device import DeviceCascade
    from edgepose.cascade.host import HostCascade
    from edgepose.cuda.host import HostDevice
    from edgepose.types import Frame

    rng, bundle = np.random.default_rng(0), made_up()
    host = HostCascade(bundle, Smooth())
    device = HostDevice("late", keep=False)
    cascade = DeviceCascade(bundle, HostDeviceBackend(device, Smooth()), persons=4, programs=2)
    waiting, found = [], [0.0]
    for i in range(frames + 3):
        if i < frames:
            height, width = SIZES[i * len(SIZES) // frames]
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            boxes = crowd(rng, int(rng.integers(0, 10)), height, width)
            lent = cascade.pool.take(image.shape) if i % 2 else None
            if lent is not None:
                lent[...] = image
            frame = Frame(image if lent is None else lent, i, 0.0, 0.0)
            waiting.append((cascade.submit([frame], boxes, np.zeros(len(boxes))), image, boxes))
            del frame, lent  # what is lent goes round from here on
        if i >= 3 and waiting:
            pending, image, boxes = waiting.pop(0)
            pairs = zip(pending.result().stages, host(image, boxes).stages, strict=True)
            found += [float(np.abs(a - b).max()) for a, b in pairs if len(a)]
    cascade.close()
    host.close()
    return max(found) if np.isfinite(found).all() else float("nan")


if __name__ == "__main__":
    sanitized.load()
    off = worst(int(sys.argv[1]))
    sys.stdout.write(f"{off:.3g}\n")
    sys.exit(0 if off <= 0.05 else 1)
