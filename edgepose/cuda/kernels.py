"""The kernels of csrc on device memory, for every provider; crop_cuda.h and boxes.h define them.

A provider says how a call reaches a stream; the arrays of a call are known here, so that a provider
can look at them when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.normalisation import Normalisation


@dataclass(frozen=True)
class Torso:
    """How a row of points is sized: ``pairs`` whose largest distance counts, and ``floor``, the
    least share of the points' extent."""

    pairs: tuple[tuple[int, int], tuple[int, int]]
    floor: float


@dataclass(frozen=True)
class Next:
    """The boxes of the next crops: ``sigma`` sizes a side, one box per point.

    ``frame_index`` (rows,) int64; written: ``boxes`` (rows, points, 4) float32 and ``indices``
    (rows, points) int64.
    """

    sigma: float
    torso: Torso
    frame_index: DeviceArray
    boxes: DeviceArray
    indices: DeviceArray


# Give a stream a kernel: the stream's handle, the module's function, its arguments but for device
# and stream, and the arrays that it reads and writes.
Call = Callable[[int, Callable[..., None], tuple[Any, ...], Sequence[DeviceArray]], None]


class Kernels:
    """One module's kernels: ``edgepose._cuda`` or, on the host, ``edgepose._host``."""

    def __init__(self, module: ModuleType, call: Call) -> None:
        self._module, self._call = module, call

    def crop(
        self,
        source: int,
        table: DeviceArray,
        boxes: DeviceArray,
        frame_index: DeviceArray,
        out: DeviceArray,
        normalisation: Normalisation,
        stream: int,
    ) -> None:
        """Cut ``boxes`` (n, 4) from the frames of ``table`` (m,) ROW into ``out`` (n, 3, h, w).

        ``source``: 0 BGR, 1 and 2 NV12 of BT.601 and BT.709; ``frame_index`` (n,) int64.
        """
        m, (count, _, height, width) = self._module, out.shape
        frames = m.Frames(source, table.pointer, table.shape[0], True)
        spec = m.CropSpec(height, width, out.dtype == np.float16, normalisation)
        arguments = (frames, boxes.pointer, frame_index.pointer, count, spec, out.pointer)
        self._call(stream, m.crop, arguments, (table, boxes, frame_index, out))

    def square_boxes(
        self, count: DeviceArray, boxes: DeviceArray, margin: float, out: DeviceArray, stream: int
    ) -> None:
        """Squares of ``margin`` longer sides around the first ``count`` boxes; others are empty."""
        m = self._module
        rows = m.Rows(boxes.shape[0], 1, count.pointer)
        arguments = (rows, boxes.pointer, margin, out.pointer)
        self._call(stream, m.square_boxes, arguments, (count, boxes, out))

    def denormalise(
        self,
        count: DeviceArray,
        points: DeviceArray,
        boxes: DeviceArray,
        following: Next | None,
        out: DeviceArray,
        stream: int,
    ) -> None:
        """``N⁻¹``: ``points`` (rows, k, 2) of ``boxes`` (rows, 4) to pixels, and the next boxes."""
        arguments = (points.pointer, boxes.pointer)
        self._update(self._module.denormalise, count, arguments, following, out, stream)

    def refine(
        self,
        count: DeviceArray,
        points: DeviceArray,
        displacements: DeviceArray,
        boxes: DeviceArray,
        following: Next | None,
        out: DeviceArray,
        stream: int,
    ) -> None:
        """Equation (6): ``points`` (rows, k, 2) moved by ``displacements`` in sides of ``boxes``
        (rows, k, 4), and the next boxes."""
        arguments = (points.pointer, displacements.pointer, boxes.pointer)
        self._update(self._module.refine, count, arguments, following, out, stream)

    def _update(
        self,
        function: Callable[..., None],
        count: DeviceArray,
        inputs: tuple[int, ...],
        following: Next | None,
        out: DeviceArray,
        stream: int,
    ) -> None:
        m, touched = self._module, [count, out]
        rows = m.Rows(out.shape[0], out.shape[1], count.pointer)
        record = None
        if following is not None:
            torso = following.torso
            arrays = (following.frame_index, following.boxes, following.indices)
            addresses = [a.pointer for a in arrays]
            record = m.NextBoxes(following.sigma, torso.pairs, torso.floor, *addresses)
            touched += arrays
        self._call(stream, function, (rows, *inputs, record, out.pointer), touched)
