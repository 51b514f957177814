"""Draws docs/crop.svg: microseconds per crop over the box's side, for every contestant.

python benchmarks/plot_crop.py            # needs nothing beyond the package
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from crop_peers import N, fair, measure, methods

from edgepose.crop import info

SIZE = 96
RATIOS = [0.33, 0.5, 0.7, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0]
PEERS = {
    "loop": ("OpenCV loop, INTER_LINEAR", "#b0413e"),
    "expert area": ("OpenCV expert, INTER_AREA", "#d98c3f"),
    "expert": ("OpenCV expert, INTER_LINEAR", "#e3c04f"),
    "scalar": ("edgepose, scalar", "#9aa5b1"),
    "avx2": ("edgepose, AVX2", "#4d8fbf"),
    "avx512": ("edgepose, AVX-512", "#1f4e79"),
    "neon": ("edgepose, NEON", "#1f4e79"),
    "copy": ("np.copyto of the batch", "#444444"),
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 820, 460, 62, 230, 44, 52


def svg(times: dict[str, list[float]]) -> str:
    """A log-log line chart; ``times`` in microseconds per crop at each of RATIOS."""
    sides = [SIZE * ratio for ratio in RATIOS]
    every = [value for values in times.values() for value in values]
    low, high = min(every) / 1.2, max(every) * 1.2
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(side: float) -> float:
        share = math.log(side / sides[0]) / math.log(sides[-1] / sides[0])
        return LEFT + share * (right - LEFT)

    def y(micros: float) -> float:
        return bottom - math.log(micros / low) / math.log(high / low) * (bottom - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">Time per crop, {N} boxes of a 720p frame to'
        f" {SIZE} × {SIZE} float32, one thread</text>",
        f'<text x="{LEFT - 50}" y="{TOP - 6}">µs</text>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        "side of the box, pixels (log)</text>",
    ]
    ticks = [v * 10**e for e in range(-1, 5) for v in (1, 2, 5) if low <= v * 10**e <= high]
    parts.extend(
        f'<path d="M{LEFT} {y(tick):.1f}H{right}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    )
    parts.extend(
        f'<path d="M{x(side):.1f} {TOP}V{bottom}" stroke="#eee"/>'
        f'<text x="{x(side):.1f}" y="{bottom + 16}" text-anchor="middle">{side}</text>'
        for side in (32, 48, 64, 96, 144, 192, 288, 384, 576)
    )
    taken = -math.inf
    for name in sorted(times, key=lambda name: times[name][-1], reverse=True):
        label, colour = PEERS[name]
        points = " ".join(
            f"{x(side):.1f},{y(value):.1f}" for side, value in zip(sides, times[name], strict=True)
        )
        dash = ' stroke-dasharray="5 4"' if name == "copy" else ""
        taken = max(y(times[name][-1]), taken + 16)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text x="{right + 8}" y="{taken + 4:.1f}" fill="{colour}">{label}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    entries = {name: method for name, method in methods().items() if not name.endswith("plain")}
    times: dict[str, list[float]] = {name: [] for name in (*entries, "copy")}
    with fair():
        for ratio in RATIOS:
            for name, seconds in measure(SIZE, ratio, 40, entries).items():
                times[name].append(1e6 * float(np.median(seconds)) / N)
    path = Path(__file__).parents[1] / "docs" / "crop.svg"
    path.write_text(svg(times), encoding="utf-8")
    for name, values in times.items():
        print(f"{name:12}", *(f"{value:7.1f}" for value in values))
    print(f"{path} drawn; the best path here is {info().path}")


if __name__ == "__main__":
    main()
