"""The crop kernel against OpenCV: 14 boxes of one 720p frame into a normalised NCHW batch.

``-k ratio -s`` prints interleaved medians: ours and the peers' time over ours. "loop" is what one
writes first, "expert" is preallocated and looks colours up; both resize with INTER_LINEAR and are
held against ours without antialiasing, "area" is the expert with INTER_AREA against ours with it.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import pytest
from crop_peers import MEAN, SCALE, STD, Batch, N, fair, measure, methods, scene

from edgepose.crop import crop, info

CHECKED = 5  # the first two lie over the frame's edge
SIZES = [64, 96, 128, 220]
RATIOS = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
REDUCED = [(64, 4.0), (64, 6.0), (64, 8.0), (64, 11.0)]  # persons far larger than their crop
METHODS = methods()


@pytest.fixture(autouse=True)
def circumstances():
    with fair():
        yield


@lru_cache
def exact(size: int, ratio: float, antialias: bool) -> Batch:
    frame, boxes, _ = scene(size, ratio)
    options = {"scale": SCALE, "mean": MEAN, "std": STD, "antialias": antialias}
    return crop(frame, boxes[:CHECKED], size, impl="reference", **options)


def check(name: str, size: int, ratio: float, got: Batch) -> None:
    """Ours to the contract's tolerance; OpenCV, on whole pixels and 8 bits, to a few levels."""
    mine = name.split()[0] in info().present
    antialias = name.endswith("area") or (mine and not name.endswith("plain"))
    error = np.abs(got[:CHECKED] - exact(size, ratio, antialias))
    error *= np.array(STD)[:, None, None] / SCALE
    # Where the border meets the frame, rounding the box moves a steep edge by up to half a pixel.
    inside = slice(None) if mine else slice(2, None)
    assert error[inside].max() <= (0.02 if mine else 16.0)
    assert np.median(error) <= 2.0


@pytest.mark.parametrize("ratio", [0.5, 1.5])
@pytest.mark.parametrize("size", [64, 220])
@pytest.mark.parametrize("name", METHODS)
def test_crop(benchmark, name, size, ratio):
    benchmark.group = f"crop n={N} size={size} ratio={ratio}"
    frame, boxes, out = scene(size, ratio)
    benchmark.pedantic(METHODS[name], (frame, boxes, size, out), rounds=30, warmup_rounds=2)
    check(name, size, ratio, out)


@pytest.mark.parametrize(("size", "ratio"), [*product(SIZES, RATIOS), *REDUCED])
def test_ratio(size, ratio, capsys):
    times = measure(size, ratio, 40, METHODS)
    frame, boxes, out = scene(size, ratio)
    for name, method in METHODS.items():
        method(frame, boxes, size, out)
        check(name, size, ratio, out)

    def over(peer: str, name: str) -> float:
        return float(np.median(times[peer] / times[name]))

    for path in info().present:
        micros = 1e6 * np.median(times[path]) / N
        with capsys.disabled():
            print(
                f"\nsize {size} ratio {ratio} {path}: {micros:.1f} us per crop,"
                f" loop {over('loop', f'{path} plain'):.1f}x,"
                f" expert {over('expert', f'{path} plain'):.1f}x,"
                f" area {over('expert area', path):.1f}x,"
                f" {over(path, 'copy'):.2f} of a copy",
                end="",
            )
    assert over("loop", info().present[0]) > 1.0
