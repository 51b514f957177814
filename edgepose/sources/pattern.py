"""A source that is made up as it goes: figures that walk to and fro, for trying things out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import cv2
import numpy as np

from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Frame, Image, as_image

_SIZE, _RATE = (640, 480), 30.0
_STRIDE = 1.2  # seconds for two steps
_CROSSING = 9.0  # seconds to walk to and fro

_SKIN, _HAIR, _SHOE = (142, 172, 224), (38, 46, 62), (46, 44, 50)
# Shirt and trousers of each figure, BGR.
_CLOTHES = (
    ((172, 92, 52), (78, 58, 48)),
    ((62, 66, 196), (120, 112, 100)),
    ((84, 142, 74), (60, 74, 98)),
    ((62, 170, 214), (104, 52, 52)),
)

Point = tuple[float, float]


def open_pattern(text: str, options: SourceOptions) -> Source:
    """``test`` for one figure, ``test:3`` for three."""
    return PatternSource(int(text.partition(":")[2] or 1), options)


class PatternSource(Source):
    """Live, as a camera is: frame n stands for its time, and a slow reader misses frames."""

    live = True

    def __init__(self, figures: int, options: SourceOptions) -> None:
        self.name = "test" if figures == 1 else f"test:{figures}"
        self.width, self.height = options.size or _SIZE
        self.fps = options.fps or _RATE
        self._figures = figures
        self._room = _room(self.width, self.height)

    def __iter__(self) -> Iterator[Frame]:
        assert self.fps is not None
        started, index = time.perf_counter(), 0
        while True:
            due = started + index / self.fps
            time.sleep(max(0.0, due - time.perf_counter()))
            image = self.image(index / self.fps)
            yield Frame(image, index, index / self.fps, due, self.number)
            del image
            # What the reader was too slow for has passed.
            index = max(index + 1, math.floor((time.perf_counter() - started) * self.fps))

    def image(self, seconds: float) -> Image:
        """The picture at ``seconds``: (H, W, 3) uint8 BGR."""
        image = as_image(self._room.copy())
        for number in range(self._figures):
            phase = seconds + number * _CROSSING / max(1, self._figures)
            at = 2 * math.pi * phase / _CROSSING
            x = self.width * (0.5 - 0.36 * math.cos(at))
            depth = 1 - 0.12 * number
            height = 0.74 * self.height * depth
            facing = 1.0 if math.sin(at) >= 0 else -1.0
            floor = self.height * (0.93 - 0.05 * number)
            _figure(image, (x, floor), height, facing, phase / _STRIDE, _CLOTHES[number % 4])
        return image

    def close(self) -> None:
        """Nothing is held open."""


def _room(width: int, height: int) -> Image:
    """A wall that is lit from above and a floor, with a little grain."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    wall = np.array((206, 204, 198), np.float32) * (1 - 0.25 * rows)
    floor = np.array((96, 112, 128), np.float32) * (0.7 + 0.4 * rows)
    grain = np.random.default_rng(0).normal(0, 2.5, (height, width, 1))
    picture = np.where(rows < 0.82, wall, floor) + grain
    return as_image(picture.clip(0, 255).astype(np.uint8))


def _figure(
    image: Image,
    feet: Point,
    height: float,
    facing: float,
    steps: float,
    clothes: tuple[tuple[int, int, int], tuple[int, int, int]],
) -> None:
    """One person who walks, ``height`` pixels high, in proportions of an adult."""
    shirt, trousers = clothes
    swing = math.sin(2 * math.pi * steps)
    bob = 0.008 * height * math.cos(4 * math.pi * steps)
    hip = (feet[0], feet[1] - 0.51 * height + bob)
    neck = (hip[0] + 0.02 * facing * height, hip[1] - 0.31 * height)

    def limb(start: Point, length: float, angle: float) -> Point:
        return (
            start[0] + facing * length * height * math.sin(angle),
            start[1] + length * height * math.cos(angle),
        )

    def draw(a: Point, b: Point, wide: float, colour: tuple[int, int, int], dark: float) -> None:
        shade = tuple(int(c * dark) for c in colour)
        cv2.line(image, _fixed(a), _fixed(b), shade, max(1, round(wide * height)), cv2.LINE_AA, 4)

    # The far side first, and darker.
    for side, dark in ((-1.0, 0.78), (1.0, 1.0)):
        out = 0.045 * height * side
        thigh, bend = 0.42 * swing * side, 0.35 * max(0.0, -swing * side) + 0.08
        top = (hip[0] + 0.5 * out, hip[1])
        knee = limb(top, 0.245, thigh)
        ankle = limb(knee, 0.235, thigh - bend)
        draw(ankle, limb(ankle, 0.07, thigh - bend + 1.35), 0.04, _SHOE, dark)
        draw(knee, ankle, 0.062, trousers, 0.95 * dark)
        draw(top, knee, 0.088, trousers, dark)
        if side > 0:
            _torso(image, hip, neck, height, shirt)
        shoulder = (neck[0] + out, neck[1] + 0.045 * height)
        elbow = limb(shoulder, 0.175, -0.5 * swing * side)
        wrist = limb(elbow, 0.15, -0.5 * swing * side + 0.35)
        draw(elbow, wrist, 0.042, _SKIN, dark)
        draw(shoulder, elbow, 0.06, shirt, 0.92 * dark)
        cv2.circle(image, _fixed(wrist), round(0.028 * height * 16), _SKIN, -1, cv2.LINE_AA, 4)
    head = (neck[0] + 0.012 * facing * height, neck[1] - 0.085 * height)
    draw(neck, head, 0.055, _SKIN, 0.85)
    size = (round(0.05 * height), round(0.068 * height))
    at = (round(head[0]), round(head[1]))
    cv2.ellipse(image, at, size, 0, 0, 360, _SKIN, -1, cv2.LINE_AA)
    start = 175 if facing > 0 else 150
    cv2.ellipse(image, at, size, 0, start, start + 215, _HAIR, -1, cv2.LINE_AA)


def _torso(
    image: Image, hip: Point, neck: Point, height: float, shirt: tuple[int, int, int]
) -> None:
    outline = [
        (neck[0] - 0.085 * height, neck[1] + 0.045 * height),
        (neck[0] - 0.03 * height, neck[1]),
        (neck[0] + 0.03 * height, neck[1]),
        (neck[0] + 0.085 * height, neck[1] + 0.045 * height),
        (hip[0] + 0.068 * height, hip[1] + 0.03 * height),
        (hip[0] - 0.068 * height, hip[1] + 0.03 * height),
    ]
    points = np.array([_fixed(p) for p in outline], np.int32)
    cv2.fillPoly(image, [points], shirt, cv2.LINE_AA, 4)


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * 16), round(point[1] * 16)
