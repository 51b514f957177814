"""The cascade on a device: one CUDA graph a frame, and nothing returns to the host in between.

Per bucket of persons (1, 2, 4, 8, …) a graph takes the request up (count, boxes, table of frames),
then stage 1 → boxes → crops → stage 2 → …; after each stage its joints come down and its event is
recorded. Spare rows of a bucket have empty boxes, which crop to padding. Frames go up on a stream
of their own, outside the graph, which finds them by the table: a replay reads today's pointers.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.bundle import Bundle
from edgepose.cascade.device_frames import source_of
from edgepose.cascade.device_program import Plan
from edgepose.cascade.device_slot import Run, Slot
from edgepose.cascade.host import checked_boxes
from edgepose.crop.normalisation import normalisation
from edgepose.cuda.device import Device
from edgepose.cuda.kernels import Torso
from edgepose.cuda.network import DeviceBackend, DeviceModel
from edgepose.cuda.pool import PinnedPool
from edgepose.errors import BackendError
from edgepose.geometry import TORSO_FLOOR
from edgepose.types import Float, Frame, Poses

_SLOTS = 2  # frames in flight
_PERSONS = 16  # of the largest bucket at most
_PROGRAMS = 8  # graphs that a slot keeps


class DeviceCascade:
    """A bundle's stages on a device backend: ``poses = cascade(frame, boxes)``.

    Results are those of HostCascade, to what the networks' precision costs. Calls may come from any
    thread.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: DeviceBackend,
        stages: int | None = None,
        *,
        graphs: bool = True,
        persons: int = _PERSONS,
        programs: int = _PROGRAMS,
        mapped: bool = False,
    ) -> None:
        """Load the first ``stages`` networks (None: all) and take the memory for two frames.

        ``graphs`` False queues the same calls one by one. ``persons``: at most so many in the
        largest bucket; more are split over several runs. ``programs``: how many buckets each slot
        keeps ready, the least used goes. ``mapped``: see
        :class:`~edgepose.cascade.device_frames.FrameStore`.
        """
        self.bundle, self.skeleton, self.backend = bundle, bundle.skeleton, backend.name
        self.specs = bundle.manifest.stages[:stages]
        self.device: Device = backend.device
        names = [f"stage{number}" for number in range(1, len(self.specs) + 1)]
        models = tuple(backend.open(bundle, name) for name in names)
        k, pixels = len(self.skeleton), bundle.manifest.pixels
        rows = [1, *[k] * (len(models) - 1)]  # of the batch, per person
        self.buckets = _buckets(models, rows, persons)
        (a, b), (c, d) = self.skeleton.torso_index.tolist()
        self.plan = Plan(
            models=models,
            extents=tuple(spec.extent for spec in self.specs),
            joints=k,
            torso=Torso(((a, b), (c, d)), TORSO_FLOOR),
            normalisation=normalisation(pixels.scale, pixels.mean, pixels.std),
            persons=self.buckets[-1],
        )
        self.pool = PinnedPool(self.device, mapped=mapped)
        self._copying = self.device.stream()
        graphs = graphs and self.device.graphs
        self._slots = [
            Slot(self.device, self.plan, self._copying, graphs, programs, mapped)
            for _ in range(_SLOTS)
        ]
        self._next, self._lock = 0, threading.Lock()
        way = "one graph a frame" if graphs else "call by call"
        self.description = (
            f"{bundle.name} on {backend.name}, {backend.precision}, crops and {way} on "
            f"{self.device.facts.name}"
        )
        self._closed = weakref.finalize(self, _close, self._slots, self.pool)

    @property
    def depth(self) -> int:
        """How many calls keep the device busy: one in each slot."""
        return _SLOTS

    @property
    def lanes(self) -> int:
        """One: stages of two runs overlap as the device sees fit, but begin in turn."""
        return 1

    @property
    def pace(self) -> float:
        """Seconds between frames that the device can keep up with, by the newest runs."""
        return max(slot.seconds for slot in self._slots) / _SLOTS if self._slots else 0.0

    def submit(
        self, frames: Sequence[Frame], boxes: ArrayLike, frame_index: ArrayLike
    ) -> DevicePending:
        """Queue the poses of all persons of several frames; returns at once.

        ``frames``: their images are (H, W, 3) uint8 BGR, or NV12, in host or device memory; those
        on the device must be ready and stay as they are until the result. ``boxes`` (P, 4) or
        (P, 5) edges x0, y0, x1, y1 in pixels, tight around the person; ``frame_index`` (P,) says
        which frame each is in. ValueError if a box is not finite or empty, or an index is none.
        """
        images = [frame.image for frame in frames]
        b, index = checked_boxes(boxes), np.asarray(frame_index, np.int64).reshape(-1)
        if len(index) != len(b) or (len(b) and not 0 <= index.min() <= index.max() < len(images)):
            raise ValueError(f"frame_index must be ({len(b)},) from 0 to {len(images) - 1}")
        with self._lock:
            if not self._closed.alive:
                raise BackendError("this cascade is closed; load it again")
            return DevicePending(self, len(b), self._runs(images, b, index))

    def __call__(self, frame: NDArray[np.uint8] | Any, boxes: ArrayLike) -> Poses:
        """Estimate the pose of every person in one frame, and wait; see :meth:`submit`."""
        b = checked_boxes(boxes)
        return self.submit([Frame(frame, 0, 0.0, 0.0)], b, np.zeros(len(b), np.int64)).result()

    def warm_up(self, persons: Sequence[int] = (1, 2, 4), source: int = 0) -> None:
        """Make the graphs for so many persons now, not with the first frame that has them."""
        with self._lock:
            for n in persons:
                for slot in self._slots:
                    slot.idle()
                    slot.program(self.bucket(n), source)

    def bucket(self, persons: int) -> int:
        """The least bucket that holds so many persons, at most the largest."""
        return next((b for b in self.buckets if b >= persons), self.buckets[-1])

    def close(self) -> None:
        """Wait for what is in flight and give the device's memory back; may be called again."""
        with self._lock:
            self._closed()

    def _runs(self, images: list[Any], boxes: Float, index: NDArray[np.int64]) -> list[Run]:
        """One run for each kind of frames and each full bucket; nearly always one."""
        kinds = np.array([source_of(image) for image in images])
        runs = []
        for kind in np.unique(kinds[index]):
            (members,) = np.nonzero(kinds[index] == kind)
            for first in range(0, len(members), self.buckets[-1]):
                some = members[first : first + self.buckets[-1]]
                used, local = np.unique(index[some], return_inverse=True)
                slot = self._slots[self._next]
                self._next = (self._next + 1) % len(self._slots)
                pictures = [images[i] for i in used]
                rows = self.bucket(len(some))
                run = slot.start(rows, int(kind), pictures, boxes[some], local.astype(np.int64))
                run.members = some
                runs.append(run)
        return runs


class DevicePending:
    """The poses of one request, on their way."""

    def __init__(self, cascade: DeviceCascade, persons: int, runs: list[Run]) -> None:
        self._joints, self._stages = len(cascade.skeleton), len(cascade.specs)
        self._persons, self._runs, self._started = persons, runs, time.perf_counter()

    def stage(self, s: int) -> tuple[Float, Float]:
        """Joints (P, k, 2) in pixels and scores (P, k) after stage ``s``, counted from 1.

        Waits for that stage only.
        """
        joints = np.zeros((self._persons, self._joints, 2), np.float32)
        scores = np.zeros((self._persons, self._joints), np.float32)
        for run in self._runs:
            joints[run.members], scores[run.members] = run.stage(s)
        return joints, scores

    def result(self) -> Poses:
        """All stages; one wait. ``seconds`` tells how long the device took, seen from the host."""
        for run in self._runs:
            run.settle()
        seconds = {"device": time.perf_counter() - self._started}
        found = [self.stage(s) for s in range(1, self._stages + 1)]
        return Poses([j for j, _ in found], [s for _, s in found], seconds)


def _close(slots: list[Slot], pool: PinnedPool) -> None:
    pool.close()
    for slot in slots:
        slot.close()
    slots.clear()


def _buckets(models: Sequence[DeviceModel], rows: Sequence[int], persons: int) -> list[int]:
    """Numbers of persons, up to ``persons``, that every model is tuned for; ``rows`` of one."""
    pairs = list(zip(models, rows, strict=True))
    common = set.intersection(*({b // n for b in m.batches if b % n == 0} for m, n in pairs))
    if not common:
        raise BackendError(
            "the stages have no number of persons in common; build engines whose stages take the "
            "same --batch"
        )
    return sorted(n for n in common if n <= max(persons, min(common)))
