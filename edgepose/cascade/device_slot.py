"""A place for one frame in flight on a device, and the runs that it makes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cascade.device_frames import FrameStore
from edgepose.cascade.device_program import Buffers, Plan, Program
from edgepose.cuda.device import Device, Stream
from edgepose.types import Float

_NUMBERS = 2**31 - 1  # of runs, and then from 1 again


class Run:
    """One replay in a slot: ``members`` are the persons of the request that it is about."""

    members: NDArray[np.intp]

    def __init__(self, slot: Slot, number: int, persons: int, rows: int) -> None:
        self._slot, self._number, self._persons, self._rows = slot, number, persons, rows
        self._started = time.perf_counter()
        self._found: list[tuple[Float, Float] | None] = [None] * len(slot.buffers.answers)
        self._lock = threading.Lock()

    def stage(self, s: int) -> tuple[Float, Float]:
        """Joints and scores after stage ``s`` (from 1); waits for that stage only."""
        with self._lock:
            kept = self._found[s - 1]
            if kept is None:
                if s == len(self._found):
                    self._wait()
                else:
                    self._wait_within(s)
                kept = self._found[s - 1] = self._read(s)
            return kept

    def settle(self) -> None:
        """Read every stage: the slot is about to be used again."""
        for s in range(len(self._found), 0, -1):  # one wait: the last is done after the others
            with self._lock:
                if self._found[s - 1] is None:
                    if s == len(self._found):
                        self._wait()
                    self._found[s - 1] = self._read(s)

    def _wait(self) -> None:
        """Wait for the last stage, and learn how long a run takes."""
        last = self._slot.finished
        late = last.done()  # for how long nobody knows, so the time is a bound
        last.synchronize()
        taken = time.perf_counter() - self._started
        before = self._slot.seconds
        self._slot.seconds = min(before, taken) if late and before else taken

    def _wait_within(self, s: int) -> None:
        """Wait for a stage before the last, by its event within the graph.

        CUDA says that a launch records such an event, but not that it has when the call returns:
        one that still stood for the run before would not wait. So the run's number, which comes
        down between the answer and the event, decides; without it the whole run is waited for.
        """
        self._slot.events[s - 1].synchronize()
        if int(self._slot.buffers.numbers[s - 1]) != self._number:
            self._slot.finished.synchronize()

    def _read(self, s: int) -> tuple[Float, Float]:
        answer, n, k = self._slot.buffers.answers[s - 1], self._persons, self._slot.joints
        split = self._rows * k * 2
        joints = answer[: n * k * 2].reshape(n, k, 2).copy()
        return joints, answer[split : split + n * k].reshape(n, k).copy()


class Slot:
    """One frame in flight: its stream, memory, events and programs."""

    def __init__(
        self,
        device: Device,
        plan: Plan,
        copying: Stream,
        graphs: bool,
        programs: int,
        mapped: bool,
    ) -> None:
        """Take the memory; ``copying``: the stream of the frames. The rest as of DeviceCascade."""
        self.joints = plan.joints
        self.buffers = Buffers(device, plan)
        self.events = [device.event() for _ in plan.models[:-1]]
        self.finished = device.event()
        self.frames = FrameStore(device, mapped)
        self.stream: Stream = device.stream(priority=-1)
        self._device, self._plan, self._copying = device, plan, copying
        self._uploaded = device.event()
        self._graphs, self._keep = graphs, programs
        self._programs: OrderedDict[tuple[int, int], Program] = OrderedDict()
        self._run: Run | None = None
        self._number = 0  # of the newest run
        self.seconds = 0.0  # that a run takes

    def start(
        self, rows: int, source: int, images: list[Any], boxes: Float, index: NDArray[np.int64]
    ) -> Run:
        """Queue one run of a bucket of ``rows`` persons; waits for the one before it in this slot,
        whose results are kept."""
        self.idle()
        program = self.program(rows, source)
        table = self.frames.put(images, self._copying)
        self._uploaded.record(self._copying)
        self._number = self._number % _NUMBERS + 1
        self.buffers.request.fill(self._number, boxes, index, table)
        self.stream.wait(self._uploaded)
        program.run(source, self.stream)
        self.finished.record(self.stream)
        self._run = Run(self, self._number, len(boxes), program.rows)
        return self._run

    def idle(self) -> None:
        """Wait for the run in flight and keep its results."""
        if self._run is not None:
            self._run.settle()
            self._run = None

    def program(self, rows: int, source: int) -> Program:
        """The program of a bucket, made if it is new: the slot is idle."""
        key = (rows, source)
        if key in self._programs:
            self._programs.move_to_end(key)
            return self._programs[key]
        while len(self._programs) >= self._keep:
            self._programs.popitem(last=False)[1].close()
        program = Program(self._device, self._plan, self.buffers, self.events, rows)
        self._programs[key] = program
        # Networks settle their shapes and load their kernels in the first call, outside a capture.
        self.buffers.request.clear()
        program.enqueue(source, self.stream)
        self.stream.synchronize()
        if self._graphs:
            program.capture(source, self.stream)
        return program

    def close(self) -> None:
        """Give everything back, once nothing runs."""
        self.idle()
        self.stream.synchronize()
        for program in self._programs.values():
            program.close()
        self._programs.clear()
