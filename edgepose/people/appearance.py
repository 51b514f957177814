"""What detected persons look like: the colours of their trunks, which tell the lost apart."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.nv12 import NV12
from edgepose.types import Float, Image

# Hue, saturation and value; clothes differ in hue, and what is grey differs in value.
_BINS = (12, 6, 6)
_RANGES = (0, 180, 0, 256, 0, 256)
_EDGES: tuple[Literal["wrap", "edge"], ...] = ("wrap", "edge", "edge")
_SIZE = (16, 32)  # pixels that are looked at, width and height
# The part of a box that is trunk and thighs, whichever way the person stands.
_TRUNK = np.array([0.3, 0.2, 0.7, 0.8])


def appearance(image: Image | NV12, boxes: Float) -> Float | None:
    """The colours of persons as histograms over hue, saturation and value (HSV).

    ``boxes`` (n, 4) or (n, 5) in pixels of ``image``. Gives (n, 432) float32, the square root of
    each bin's share, each bin blurred into its neighbours so that a little more light is no other
    colour; None for a picture whose pixels are in a device's memory.
    """
    if not isinstance(image.y if isinstance(image, NV12) else image, np.ndarray):
        return None
    height, width = image.shape[:2]
    shares = np.zeros((len(boxes), int(np.prod(_BINS))), np.float32)
    for row, box in zip(shares, np.asarray(boxes, np.float64)[:, :4], strict=True):
        corner, size = box[:2], box[2:] - box[:2]
        x0, y0 = (corner + _TRUNK[:2] * size).astype(int)
        x1, y1 = np.ceil(corner + _TRUNK[2:] * size).astype(int)
        x0, y0 = min(max(x0, 0), width - 2), min(max(y0, 0), height - 2)
        part = _part(image, x0, y0, max(min(x1, width), x0 + 2), max(min(y1, height), y0 + 2))
        every = max(1, (x1 - x0) // (4 * _SIZE[0]))
        small = cv2.resize(part[::every, ::every], _SIZE, interpolation=cv2.INTER_AREA)
        hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
        counts = _blurred(cv2.calcHist([hsv], [0, 1, 2], None, _BINS, _RANGES))
        row[:] = np.sqrt(counts.ravel() / counts.sum())
    return shares


def _blurred(counts: NDArray[Any]) -> NDArray[Any]:
    """A quarter of each bin goes to each neighbour; hue is a circle."""
    for axis, mode in enumerate(_EDGES):
        wide = np.pad(counts, [(int(a == axis),) * 2 for a in range(3)], mode=mode)
        before, own, after = (np.take(wide, range(i, i + _BINS[axis]), axis) for i in range(3))
        counts = (before + 2 * own + after) / 4
    return counts


def unlike(colours: Float, others: Float) -> Float:
    """How unlike ``colours`` (d,) and ``others`` (n, d) are: (n,) in [0, 1].

    The Hellinger distance, which OpenCV calls HISTCMP_BHATTACHARYYA.
    """
    return np.asarray(np.sqrt(np.maximum(0, 1 - others @ colours)), np.float32)


def blend(colours: Float, newer: Float, weight: float) -> Float:
    """Colours (d,) of which ``newer`` (d,) has so much ``weight``."""
    shares = (1 - weight) * colours**2 + weight * newer**2
    return np.asarray(np.sqrt(shares), np.float32)


def _part(image: Image | NV12, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
    if not isinstance(image, NV12):
        return image[y0:y1, x0:x1]
    # Chroma is shared by two by two pixels.
    x0, y0, x1, y1 = (2 * (v // 2) for v in (x0, y0, x1 + 1, y1 + 1))
    height, width, _ = image.shape
    uv = np.asarray(image.uv).reshape(height // 2, width // 2, 2)
    part = NV12(image.y[y0:y1, x0:x1], uv[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], image.standard)
    return part.bgr
