"""The cascade of DeepPose (Toshev & Szegedy, CVPR 2014): the protocol, and who fulfils it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.skeleton import Skeleton
from edgepose.types import BufferPool, Float, Frame, Image, Poses


class Pending(Protocol):
    """A cascade call that is on its way; waiting twice gives the same."""

    def stage(self, number: int) -> tuple[Float, Float]:
        """Joints (P, k, 2) in pixels and scores (P, k) after stage ``number``, counted from 1.

        Waits for that stage only.
        """
        ...

    def result(self) -> Poses:
        """All stages' estimates; waits for the last. Raises what the cascade raised."""
        ...


class Cascade(Protocol):
    """Estimates poses of persons in boxes, over the frames of one or several sources."""

    @property
    def skeleton(self) -> Skeleton:
        """Joints in the order of the estimates."""
        ...

    @property
    def description(self) -> str:
        """Bundle, backend, precision and crop path, in words."""
        ...

    @property
    def depth(self) -> int:
        """How many calls may be under way so that nothing in it stands idle."""
        ...

    @property
    def lanes(self) -> int:
        """How many calls stage 1 works on side by side; less than ``depth``."""
        ...

    @property
    def pace(self) -> float:
        """Seconds between calls of which none waits for the one before, by the newest calls."""
        ...

    @property
    def pool(self) -> BufferPool | None:
        """Memory from which frames reach it soonest; None: any will do."""
        ...

    def submit(
        self, frames: Sequence[Frame], boxes: Float, frame_index: NDArray[np.int64]
    ) -> Pending:
        """Begin the estimate of P persons; returns at once.

        ``boxes`` (P, 4) float32 edges x0, y0, x1, y1 in pixels, tight around the person;
        ``frame_index`` (P,): which of ``frames`` each lies in. The frames must stay unchanged until
        the result is there.
        """
        ...

    def __call__(self, frame: Image, boxes: ArrayLike) -> Poses:
        """Estimate every person of one frame (H, W, 3) uint8 BGR, and wait."""
        ...
