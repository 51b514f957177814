"""Find the persons in a frame: letterbox, one network call, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.backends import Backend
from edgepose.bundle import Bundle
from edgepose.bundle_manifest import DetectorSpec
from edgepose.crop import crop
from edgepose.errors import BundleError
from edgepose.geometry import box_iou
from edgepose.nv12 import NV12, as_bgr
from edgepose.types import Float, Image

Run = Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]

THRESHOLD = 0.44  # the least score that is reported
NMS_IOU = 0.5  # two boxes that overlap more than this are one person
_CANDIDATES = 200  # best boxes that suppression looks at


def letterbox(height: int, width: int, size: tuple[int, int]) -> Float:
    """The box of a frame that a network's input shows: the frame, padded to the input's shape.

    ``size`` is the input's (height, width). Returns (4,) x0, y0, x1, y1 in frame pixels, centred on
    the frame; what lies outside the frame is padding.
    """
    scale = max(height / size[0], width / size[1])
    half = np.array([size[1], size[0]], np.float32) * np.float32(scale / 2)
    centre = np.array([width, height], np.float32) / 2
    return np.concatenate((centre - half, centre + half))


def to_frame(boxes: ArrayLike, size: tuple[int, int], shown: ArrayLike) -> Float:
    """Boxes (n, 4) in input pixels to frame pixels; ``shown`` (4,) is the letterbox."""
    b, frame = np.asarray(boxes, np.float32), np.asarray(shown, np.float32)
    scale = (frame[2:] - frame[:2]) / np.array([size[1], size[0]], np.float32)
    return np.asarray(b * np.tile(scale, 2) + np.tile(frame[:2], 2), np.float32)


def non_maximum_suppression(boxes: Float, scores: Float, iou: float) -> NDArray[np.intp]:
    """Greedy suppression: indices (m,) of the boxes to keep, best first.

    ``boxes`` (n, 4) and ``scores`` (n,); a box that overlaps a better one by more than
    ``iou`` goes.
    """
    order = np.argsort(-scores, kind="stable")
    close = box_iou(boxes[order], boxes[order]) > iou
    gone = np.zeros(len(order), np.bool_)
    for i in range(len(order)):
        if not gone[i]:
            gone[i + 1 :] |= close[i, i + 1 :]
    return order[~gone]


class PersonDetector(Protocol):
    """Boxes and scores (n, 5) of the persons in a frame, best first."""

    def __call__(self, frame: Image | NV12, /) -> Float:
        """Detect."""
        ...


def whole_frame(frame: Image | NV12) -> Float:
    """The full picture as the one person's box (1, 5), where nobody looks for persons.

    This is b⁰ of the paper's section 3.1 for pictures of one person.
    """
    return np.array([[0, 0, frame.shape[1], frame.shape[0], 1]], np.float32)


class Decoding:
    """What a detector's boxes and scores mean: which of them are persons.

    ``threshold``: least score of a person, in [0, 1]; ``iou``: overlap above which two boxes are
    the same person, in [0, 1]; at most ``max_persons``, at least 1, are reported. ValueError if one
    is out of range.
    """

    def __init__(
        self, threshold: float = THRESHOLD, iou: float = NMS_IOU, max_persons: int = 16
    ) -> None:
        if not 0 <= threshold <= 1 or not 0 <= iou <= 1:
            raise ValueError(f"threshold and iou must be in [0, 1], not {threshold} and {iou}")
        if max_persons < 1:
            raise ValueError(f"max_persons must be at least 1, not {max_persons}")
        self.threshold, self.iou, self.max_persons = threshold, iou, max_persons

    def persons(self, boxes: Float, scores: NDArray[Any], frame: tuple[int, ...]) -> Float:
        """The persons (P, 5), best first, out of boxes (N, 4) in frame pixels and scores (N,).

        They are cut to the ``frame``: (height, width, …).
        """
        likely = np.flatnonzero(scores >= self.threshold)
        if len(likely) > _CANDIDATES:
            likely = likely[np.argsort(-scores[likely], kind="stable")[:_CANDIDATES]]
        score = scores[likely].astype(np.float32)
        found = np.clip(boxes[likely], 0, np.array([frame[1], frame[0]] * 2, np.float32))
        keep = non_maximum_suppression(found, score, self.iou)[: self.max_persons]
        return np.concatenate((found[keep], score[keep, None]), axis=1)


def detector_of(bundle: Bundle) -> DetectorSpec:
    """What a bundle says of its detector; BundleError if it has none."""
    if bundle.manifest.detector is None:
        raise BundleError(f"bundle {bundle.name} has no detector; use one that has, or give boxes")
    return bundle.manifest.detector


class Detector(Decoding):
    """Persons of a frame, by a network that gives boxes and scores for its input."""

    def __init__(
        self,
        network: Run,
        size: int | tuple[int, int],
        *,
        portrait: Run | None = None,
        scale: float = 1.0,
        mean: Sequence[float] = (127.0, 127.0, 127.0),
        std: Sequence[float] = (128.0, 128.0, 128.0),
        threshold: float = THRESHOLD,
        iou: float = NMS_IOU,
        max_persons: int = 16,
    ) -> None:
        """Wrap ``network``: (1, 3, H, W) float32 to boxes (1, N, 4) and scores (1, N).

        Args:
            network: gives boxes ``x0, y0, x1, y1`` in input pixels and scores in [0, 1].
            size: the input's side, or (height, width), in pixels.
            portrait: as ``network``, for frames higher than wide, its input's height and width
                exchanged; None: these too are shown to ``network``.
            scale: factor on the 8-bit levels, see :func:`edgepose.crop.crop`.
            mean: subtracted after ``scale``, per RGB channel.
            std: divided by last, per RGB channel.
            threshold: as ``iou`` and ``max_persons``, see :class:`Decoding`.
            iou: overlap of two boxes.
            max_persons: how many are reported.

        Raises:
            ValueError: an argument is out of range.
        """
        super().__init__(threshold, iou, max_persons)
        self.network, self.portrait = network, portrait
        self.size = (size, size) if isinstance(size, int) else size
        self._colour: dict[str, Any] = {"scale": scale, "mean": mean, "std": std}
        shapes = {self.size} if portrait is None else {self.size, self.size[::-1]}
        self._inputs = {shape: np.empty((1, 3, *shape), np.float32) for shape in shapes}

    @classmethod
    def load(cls, bundle: Bundle, backend: Backend) -> Detector:
        """The detector of ``bundle`` on ``backend``; BundleError if it has none."""
        spec, pixels = detector_of(bundle), bundle.manifest.pixels
        height, width = spec.size
        return cls(
            backend.load(bundle, "detector"),
            spec.size,
            portrait=None if height == width else backend.load(bundle, "detector-portrait"),
            scale=pixels.scale,
            mean=pixels.mean,
            std=pixels.std,
            threshold=spec.score,
            iou=spec.iou,
        )

    def __call__(self, frame: Image | NV12) -> Float:
        """Find persons in ``frame`` (H, W, 3) uint8 BGR, or NV12.

        Returns (P, 5) float32 ``x0, y0, x1, y1, score`` in frame pixels, cut to the frame, best
        first; P may be 0. Raises ValueError if ``frame`` is no such array.
        """
        if len(frame.shape) != 3:
            raise ValueError(f"frame must have shape (H, W, 3), not {frame.shape}")
        height, width = frame.shape[:2]
        network, size = self.network, self.size
        if height > width and self.portrait is not None:
            network, size = self.portrait, size[::-1]
        shown = letterbox(height, width, size)
        inputs = self._inputs[size]
        crop(as_bgr(frame), shown[None], size, out=inputs, **self._colour)
        boxes, scores = network(inputs)[:2]
        found = to_frame(boxes[0], size, shown)
        return self.persons(found, scores[0], (height, width))
