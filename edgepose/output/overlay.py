"""Skeletons drawn over a frame."""

from __future__ import annotations

import cv2
import numpy as np

from edgepose.geometry import torso_diameter
from edgepose.skeleton import Skeleton
from edgepose.types import Float, Image, Person, as_image

# BGR. Sides differ in lightness too, so that they can be told apart without colour.
LEFT = (255, 176, 66)
RIGHT = (64, 112, 255)
MIDDLE = (222, 240, 222)
_INK = (24, 22, 20)
# Positions are given to OpenCV in 1/16 pixel, so that a slow skeleton does not crawl.
_SHIFT = 4
# Scores are drawn at these opacities: one blend per level, not one per limb.
_OPACITIES = (0.2, 0.45, 0.7, 0.95)


class Overlay:
    """Draws persons of one skeleton: left blue, right orange, the trunk pale, by score.

    What scores low is drawn faint; under ``min_score`` it is left out.
    """

    def __init__(self, skeleton: Skeleton, min_score: float = 0.1, labels: bool = True) -> None:
        self._skeleton = skeleton
        self._min_score, self._labels = min_score, labels
        self._limbs = [
            (int(a), int(b), _limb_colour(skeleton.joints[a], skeleton.joints[b]))
            for a, b in skeleton.limb_index
        ]
        self._dots = [_joint_colour(name) for name in skeleton.joints]
        heads = [name for name in ("head_top", "nose", "neck") if name in skeleton.joints]
        self._head = skeleton.index(heads[0]) if heads else 0

    def draw(self, frame: Image, people: list[Person]) -> Image:
        """Draw ``people`` into ``frame`` (H, W, 3) uint8 BGR, in place, and give it back."""
        # The small come first: they are further away.
        for person in sorted(people, key=lambda p: float(p.box[3] - p.box[1])):
            self._draw_person(frame, person)
        return frame

    def _draw_person(self, frame: Image, person: Person) -> None:
        if not np.isfinite(person.joints).all():
            return
        torso = float(torso_diameter(person.joints, self._skeleton))
        thick = float(np.clip(torso / 22, 1.5, 14))
        pad = 3 * thick + 4
        low = np.floor(person.joints.min(0) - pad).astype(int)
        high = np.ceil(person.joints.max(0) + pad).astype(int)
        x0, y0 = (int(v) for v in np.maximum(low, 0))
        x1, y1 = (int(v) for v in np.minimum(high, (frame.shape[1], frame.shape[0])))
        if x1 <= x0 or y1 <= y0:
            return
        region = frame[y0:y1, x0:x1]
        joints = person.joints - np.array((x0, y0), np.float32)
        limb_scores = [float(min(person.scores[a], person.scores[b])) for a, b, _ in self._limbs]
        limb_levels = [self._level(s) for s in limb_scores]
        dot_levels = [self._level(float(s)) for s in person.scores]
        for level, opacity in enumerate(_OPACITIES):
            if level not in limb_levels and level not in dot_levels:
                continue
            layer = as_image(region.copy())
            limbs = [m for m, own in zip(self._limbs, limb_levels, strict=True) if own == level]
            dots = [i for i, own in enumerate(dot_levels) if own == level]
            self._draw_layer(layer, joints, limbs, dots, thick)
            cv2.addWeighted(layer, opacity, region, 1 - opacity, 0, dst=region)
        if self._labels:
            _label(frame, str(person.id), person.joints[self._head], thick)

    def _draw_layer(
        self,
        layer: Image,
        joints: Float,
        limbs: list[tuple[int, int, tuple[int, int, int]]],
        dots: list[int],
        thick: float,
    ) -> None:
        # A dark rim keeps the skeleton visible on light and dark clothes alike.
        rim = max(1.0, 0.3 * thick)
        ends = [(_fixed(joints[a]), _fixed(joints[b]), colour) for a, b, colour in limbs]
        for a, b, _ in ends:
            cv2.line(layer, a, b, _INK, round(thick + 2 * rim), cv2.LINE_AA, _SHIFT)
        for a, b, colour in ends:
            cv2.line(layer, a, b, colour, max(1, round(thick)), cv2.LINE_AA, _SHIFT)
        for i in dots:
            at, radius = _fixed(joints[i]), 0.85 * thick
            _disc(layer, at, radius + rim, _INK)
            _disc(layer, at, radius, self._dots[i])

    def _level(self, score: float) -> int:
        """Which of the opacities a score is drawn at, -1 for none."""
        if not score >= self._min_score:
            return -1
        return min(len(_OPACITIES) - 1, int(score * len(_OPACITIES)))


def _side(name: str) -> str:
    return name.partition("_")[0] if name.startswith(("left_", "right_")) else "middle"


def _joint_colour(name: str) -> tuple[int, int, int]:
    return {"left": LEFT, "right": RIGHT, "middle": MIDDLE}[_side(name)]


def _limb_colour(a: str, b: str) -> tuple[int, int, int]:
    sides = {_side(a), _side(b)} - {"middle"}
    return _joint_colour(a if _side(a) != "middle" else b) if len(sides) == 1 else MIDDLE


def _fixed(point: Float) -> tuple[int, int]:
    # OpenCV's pixel i is centred on i, ours covers [i, i + 1).
    x, y = np.clip((point - 0.5) * (1 << _SHIFT), -(2**28), 2**28).round()
    return int(x), int(y)


def _disc(layer: Image, at: tuple[int, int], radius: float, colour: tuple[int, int, int]) -> None:
    cv2.circle(layer, at, max(1, round(radius * (1 << _SHIFT))), colour, -1, cv2.LINE_AA, _SHIFT)


def _label(frame: Image, text: str, head: Float, thick: float) -> None:
    """The id on a dark plate above the head, kept inside the frame."""
    scale = max(0.4, thick / 9)
    weight = max(1, round(1.2 * scale))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, weight)
    pad = round(0.45 * height) + 1
    x, y = np.clip(head, -1e6, 1e6)
    left = round(float(x) - width / 2) - pad
    top = round(float(y) - 5 * thick) - height - 2 * pad
    left = min(max(left, 0), max(0, frame.shape[1] - width - 2 * pad))
    top = min(max(top, 0), max(0, frame.shape[0] - height - 2 * pad))
    right, bottom = left + width + 2 * pad, top + height + 2 * pad
    plate = frame[top : bottom + 1, left : right + 1]
    plate[:] = (plate * 0.35 + np.array(_INK) * 0.65).astype(np.uint8)
    where = (left + pad, top + pad + height)
    cv2.putText(
        frame, text, where, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), weight, cv2.LINE_AA
    )
