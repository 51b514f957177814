"""What a frame in flight owns on the device, and the sequence of calls that a graph is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgepose.crop.arrays import DeviceArray
from edgepose.crop.normalisation import Normalisation
from edgepose.crop.surfaces import ROW
from edgepose.cuda.capture import graph_of
from edgepose.cuda.device import Device, Event, Graph, Stream
from edgepose.cuda.kernels import Next, Torso
from edgepose.cuda.network import DeviceModel, DeviceNetwork
from edgepose.types import Float

Mark = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What every slot of a cascade has in common.

    ``extents``: what the crops of a stage cover, as of StageSpec. ``persons``: of the largest
    bucket.
    """

    models: tuple[DeviceModel, ...]
    extents: tuple[float, ...]
    joints: int
    torso: Torso
    normalisation: Normalisation
    persons: int


def part(block: DeviceArray, offset: int, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
    """A piece of a block of bytes on the device; it keeps the block."""
    return DeviceArray(block.pointer + offset, tuple(shape), np.dtype(dtype), None, block)


class Request:
    """What goes up with every frame in one copy: count, the run's number, boxes, frame indices,
    table of frames.

    The same layout in pinned memory and on the device, whatever the bucket. The number, from 1 on,
    comes down after each stage and says whose results lie there.
    """

    def __init__(self, device: Device, persons: int) -> None:
        self._boxes, self._index = 16, 16 + 16 * persons
        self._table = self._index + 8 * persons
        self.size = self._table + ROW.itemsize * persons  # a frame without a person stays away
        self._host = device.pinned((self.size,), np.uint8)
        self._block = device.empty((self.size,), np.uint8)
        self.count = part(self._block, 0, (1,), np.int32)
        self.number = part(self._block, 4, (1,), np.int32)
        self.boxes = part(self._block, self._boxes, (persons, 4), np.float32)
        self.frame_index = part(self._block, self._index, (persons,), np.int64)
        self.table = part(self._block, self._table, (persons,), ROW)
        self.clear()

    def clear(self) -> None:
        """No person, no frame: what a warm-up runs on."""
        self._host[:] = 0

    def fill(
        self, number: int, boxes: Float, frame_index: NDArray[np.int64], table: NDArray[Any]
    ) -> None:
        """Write what the next replay reads; the one before it must be done."""
        n = len(boxes)
        self._host[:8].view(np.int32)[:] = n, number
        self._host[self._boxes :][: 16 * n].view(np.float32)[:] = boxes.ravel()
        self._host[self._index :][: 8 * n].view(np.int64)[:] = frame_index
        self._host[self._table :][: table.nbytes].view(ROW)[:] = table

    def upload(self, device: Device, stream: Stream) -> None:
        """The one copy."""
        device.copy(self._block.pointer, self._host.ctypes.data, self.size, stream)


class Buffers:
    """A slot's device memory, made for the largest bucket; smaller ones use the beginning of it."""

    def __init__(self, device: Device, plan: Plan) -> None:
        n, k = plan.persons, plan.joints
        self.request = Request(device, n)
        self.square = device.empty((n, 4), np.float32)
        # What a later stage looks at: boxes (n, k, 4) and the frame of each; stage 1 has its own.
        self.boxes = [device.empty((n, k, 4), np.float32) for _ in plan.models]
        self.indices = device.empty((n, k), np.int64)
        self.scratch = device.empty((max(m.scratch() for m in plan.models),), np.uint8)
        self.crops, self.points = [], []
        for s, model in enumerate(plan.models):
            rows = n if s == 0 else n * k
            self.crops.append(device.empty((rows, *model.input.shape), model.input.dtype))
            self.points.append(device.empty((n, k, 2), np.float32))
        # Of each stage, for n persons: joints (n, k, 2), then scores (n, k).
        self.results = [device.empty((n * k * 3,), np.float32) for _ in plan.models]
        self.answers = [device.pinned((n * k * 3,), np.float32) for _ in plan.models]
        self.numbers = device.pinned((len(plan.models),), np.int32)  # whose the answers are
        self.numbers[:] = 0


class Program:
    """One bucket's sequence for one kind of frames: networks bound to a slot's memory.

    Queued call by call on a stream, or captured once and then replayed.
    """

    def __init__(
        self, device: Device, plan: Plan, buffers: Buffers, events: Sequence[Event], rows: int
    ) -> None:
        """``rows``: persons of the bucket; ``events``: one for each stage but the last, recorded
        when its answer is there."""
        self._device, self._plan, self._buffers, self._events = device, plan, buffers, events
        self.rows = rows
        self.graph: Graph | None = None
        self.networks: list[DeviceNetwork] = []
        k = plan.joints
        self._joints = [part(r, 0, (rows, k, 2), np.float32) for r in buffers.results]
        for s, model in enumerate(plan.models):
            points, scores = model.outputs
            addresses = {
                model.input.name: buffers.crops[s].pointer,
                points.name: buffers.points[s].pointer,
                scores.name: buffers.results[s].pointer + 4 * 2 * rows * k,
            }
            network = model.network(buffers.scratch.pointer)
            self.networks.append(network)
            network.bind(rows if s == 0 else rows * k, addresses)

    def run(self, source: int, stream: Stream) -> None:
        """One frame: a replay, or the calls one by one."""
        if self.graph is not None:
            self.graph.launch(stream)
        else:
            self.enqueue(source, stream)

    def enqueue(
        self, source: int, stream: Stream, *, external: bool = False, mark: Mark | None = None
    ) -> None:
        """Queue the calls: request up, then per stage boxes, crops, network, result down.

        ``external``: in a capture, events are nodes of the graph. ``mark`` is told what was queued.
        """
        plan, b, device, rows = self._plan, self._buffers, self._device, self.rows
        kernels, handle, request = device.kernels, stream.handle, b.request
        told = mark or (lambda _: None)
        request.upload(device, stream)
        told("request")
        person_boxes = part(request.boxes, 0, (rows, 4), np.float32)
        frame_index = part(request.frame_index, 0, (rows,), np.int64)
        square = part(b.square, 0, (rows, 4), np.float32)
        kernels.square_boxes(request.count, person_boxes, plan.extents[0], square, handle)
        for s, network in enumerate(self.networks):
            n = rows if s == 0 else rows * plan.joints
            looked_at = square if s == 0 else part(b.boxes[s], 0, (n, 4), np.float32)
            index = frame_index if s == 0 else part(b.indices, 0, (n,), np.int64)
            crops = part(b.crops[s], 0, (n, *b.crops[s].shape[1:]), b.crops[s].dtype)
            kernels.crop(source, request.table, looked_at, index, crops, plan.normalisation, handle)
            told(f"crop {s + 1}")
            network.enqueue(stream)
            told(f"stage {s + 1}")
            following = self._following(s + 1, frame_index)
            joints = self._joints[s]
            points = part(b.points[s], 0, joints.shape, np.float32)
            if s == 0:
                kernels.denormalise(request.count, points, square, following, joints, handle)
            else:
                before = self._joints[s - 1]
                boxes = part(b.boxes[s], 0, (rows, plan.joints, 4), np.float32)
                kernels.refine(request.count, before, points, boxes, following, joints, handle)
            told(f"boxes {s + 1}")
            size = rows * plan.joints * 3 * 4
            device.copy(b.answers[s].ctypes.data, b.results[s].pointer, size, stream)
            if s < len(self._events):
                # A copy of its own: it begins when the answer is there.
                device.copy(b.numbers[s:].ctypes.data, request.number.pointer, 4, stream)
                self._events[s].record(stream, external)
            told(f"download {s + 1}")

    def _following(self, stage: int, frame_index: DeviceArray) -> Next | None:
        """Where the boxes of the stage after go; None after the last."""
        plan, b, rows = self._plan, self._buffers, self.rows
        if stage == len(self.networks):
            return None
        boxes = part(b.boxes[stage], 0, (rows, plan.joints, 4), np.float32)
        indices = part(b.indices, 0, (rows, plan.joints), np.int64)
        return Next(plan.extents[stage], plan.torso, frame_index, boxes, indices)

    def capture(self, source: int, stream: Stream) -> None:
        """Make the graph, if it can be; the program has been queued and waited for once."""
        queue = partial(self.enqueue, source, stream, external=True)
        what = f"{self.rows} persons"
        self.graph = graph_of(self._device, stream, queue, self.networks, what)

    def close(self) -> None:
        """Give the graph and the networks back; the last run must be done."""
        if self.graph is not None:
            self.graph.close()
        for network in self.networks:
            network.close()
