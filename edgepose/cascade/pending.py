"""A cascade call that is on its way through the stages' workers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.types import Float, Image, Poses


class HostPending:
    """What the workers pass on; see :class:`edgepose.cascade.Pending` for the caller's side."""

    def __init__(
        self, images: Sequence[Image], boxes: Float, index: NDArray[np.int64], stages: int
    ) -> None:
        self.images, self.boxes, self.index = images, boxes, index
        self.poses = Poses([], [])
        self.error: BaseException | None = None
        self._done = [threading.Event() for _ in range(stages)]

    def stage(self, number: int) -> tuple[Float, Float]:
        """Joints (P, k, 2) in pixels and scores (P, k) after stage ``number``, counted from 1.

        Waits for that stage only; raises what it raised. ValueError if there is no such stage.
        """
        if not 1 <= number <= len(self._done):
            raise ValueError(f"stage must be from 1 to {len(self._done)}, not {number}")
        self._done[number - 1].wait()
        if self.error is not None:
            raise self.error
        return self.poses.stages[number - 1], self.poses.stage_scores[number - 1]

    def result(self) -> Poses:
        """All stages' estimates; waits for the last and raises what any stage raised."""
        self.stage(len(self._done))
        return self.poses

    def keep(self, joints: Float, scores: Float) -> None:
        """One stage more is done."""
        self.poses.stages.append(joints)
        self.poses.stage_scores.append(scores)
        done = len(self.poses.stages)
        if done == len(self._done):
            self.images = ()  # frames are megabytes, and nobody needs them any more
        self._done[done - 1].set()

    def fail(self, error: BaseException) -> None:
        """No stage more will be done."""
        self.error, self.images = error, ()
        for event in self._done:
            event.set()
