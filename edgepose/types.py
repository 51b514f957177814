"""What travels between the rooms: plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.nv12 import NV12, as_bgr
from edgepose.skeleton import Skeleton

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


class BufferPool(Protocol):
    """Memory for pictures, lent until nobody holds them."""

    def take(self, shape: Sequence[int]) -> Image | None:
        """Memory (*shape) uint8, C-contiguous, which is the caller's until its last view goes.

        None: there is none, take memory of your own.
        """
        ...


@dataclass(slots=True)
class Person:
    """One person in one frame.

    ``id`` stays the same while the person is followed (from 1). ``box`` (4,) float32 x0, y0, x1, y1
    and ``joints`` (k, 2) float32 are continuous frame pixels; ``scores`` (k,) float32 and ``score``
    (detector and pose together) lie in [0, 1].
    """

    id: int
    box: Float
    score: float
    joints: Float
    scores: Float

    def __repr__(self) -> str:
        return f"Person(id={self.id}, score={self.score:.2f}, joints {self.joints.shape})"


@dataclass(slots=True)
class Frame:
    """What a source yields.

    ``image`` (H, W, 3) uint8 BGR, or NV12 where a camera gives that; for a cascade on a device
    either may lie in the device's memory, if no sink looks at it. It stays as it is for as long as
    anybody holds it or a view of it. ``index`` counts the source's
    frames from 0, so a dropped live frame leaves a gap. ``time`` is in seconds from
    the start of the source, ``captured`` when the frame was there (``time.perf_counter()``).
    ``source`` is the number of its source in the run, ``name`` the file's name where the source is
    a folder or a picture. ``seconds`` holds what each step took so far.
    """

    image: Image | NV12
    index: int
    time: float
    captured: float
    source: int = 0
    name: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Frame({_shape(self.image)}, index={self.index}, source={self.source})"


@dataclass(slots=True)
class Result:
    """One frame and the persons in it.

    ``frame`` (H, W, 3) uint8 BGR is the source's own picture, not a copy: several sinks may read
    it, so nobody draws on it. Where ``image`` is NV12 it is made when somebody asks. ``index``,
    ``time``, ``captured``, ``source`` and ``name`` are the frame's, see :class:`Frame`; ``seconds``
    holds what each stage took.
    """

    index: int
    time: float
    image: Image | NV12
    people: list[Person]
    captured: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    name: str | None = None
    source: int = 0

    @property
    def frame(self) -> Image:
        """(H, W, 3) uint8 BGR."""
        return as_bgr(self.image)

    def __repr__(self) -> str:
        return (
            f"Result({_shape(self.image)}, index={self.index}, source={self.source}, "
            f"people={len(self.people)})"
        )


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame goes out.

    ``name`` is fit for printing: no passwords. ``width`` and ``height`` are pixels of the first
    frame; ``fps`` and ``length`` (frames) are None where nobody knows. ``live`` sources do not wait
    for a slow reader; ``continuous`` ones show the same scene from frame to frame.
    """

    name: str
    width: int
    height: int
    fps: float | None = None
    length: int | None = None
    live: bool = False
    continuous: bool = True


class SourceStatus(Protocol):
    """How a source fares right now."""

    @property
    def state(self) -> str:
        """Such as running, stalled, reconnecting, ended."""
        ...

    @property
    def frames(self) -> int:
        """Whose results have been given out."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that nobody saw."""
        ...

    @property
    def reconnects(self) -> int:
        """How often it was lost and found."""
        ...


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a sink is told before the first result: who estimates, and from what.

    ``status`` tells, at any time and on any thread, how each source fares; None where nobody knows.
    """

    bundle: str
    backend: str
    skeleton: Skeleton
    sources: tuple[SourceInfo, ...]
    status: Callable[[], Sequence[SourceStatus]] | None = None


@dataclass(slots=True)
class Poses:
    """Joints of P persons.

    ``stages`` holds the estimate (P, k, 2) after each stage in frame pixels, ``stage_scores`` its
    scores (P, k) in [0, 1], ``seconds`` the time of every step.
    """

    stages: list[Float]
    stage_scores: list[Float]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def joints(self) -> Float:
        """(P, k, 2) float32, frame pixels: the last stage's estimate."""
        return self.stages[-1]

    @property
    def scores(self) -> Float:
        """(P, k) float32 in [0, 1]: the last stage's confidence per joint."""
        return self.stage_scores[-1]

    def __len__(self) -> int:
        return len(self.joints)

    def __repr__(self) -> str:
        return f"Poses({len(self)} persons, {len(self.stages)} stages)"


def _shape(image: Image | NV12) -> str:
    return " x ".join(map(str, image.shape[1::-1]))


def as_image(array: Any) -> Image:
    """Give OpenCV's loosely typed arrays their static type; no copy."""
    image: Image = array
    return image
