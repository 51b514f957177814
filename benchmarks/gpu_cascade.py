"""The device cascade on a GPU: parity, one graph a frame beside plain streams and beside a round
trip between stages, where the time goes, and whether memory stays flat.

Networks are torch's, float32 and float16, so that any GPU runs it. Every timed result is held to
HostCascade on ONNX Runtime. The tests run the same functions on the device that is none.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gpu_device import DRY, open_bench_device

from edgepose.backends import open_backend
from edgepose.bundle import Bundle
from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.host import HostCascade
from edgepose.cuda.network import DeviceBackend
from edgepose.types import Frame

PERSONS = (1,) if DRY else (1, 4, 16)
CHANGING = (1, 2) if DRY else (1, 2, 3, 9, 20)
REPEATS = 1 if DRY else 100
ALLOWED = {"float32": 0.05, "float16": 0.5}  # pixels from the host, on a person 220 pixels high
MEMORY_FRAMES = 6 if DRY else 10_000
CROWDS = (0, 1) if DRY else (0, 1, 2, 3, 4, 9)
Make = Callable[[str], DeviceBackend]


def on_gpu(precision: str) -> DeviceBackend:
    """Torch on the GPU."""
    from edgepose.backends.torch import TorchBackend

    return TorchBackend(precision=precision, device=open_bench_device())


def scene(persons: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of the sample clip, and so many boxes about its man."""
    from edgepose.sources.open import open_source

    with open_source("sample") as source:
        frame = next(iter(source)).image
    if DRY:
        frame = np.ascontiguousarray(frame[::3, ::3])
    box = np.array([228, 312, 576, 1180], np.float32) * (frame.shape[1] / 1080)
    moved = np.random.default_rng(0).uniform(-30, 30, (persons, 1, 2)).astype(np.float32)
    return frame, (box.reshape(1, 2, 2) + moved).reshape(persons, 4)


def lent(cascade: DeviceCascade, frame: np.ndarray) -> np.ndarray:
    """The frame where a source would read it into."""
    room = cascade.pool.take(frame.shape)
    assert room is not None
    room[...] = frame
    return room


def off(found: Any, wanted: Any, boxes: np.ndarray) -> float:
    """Largest distance of a joint after any stage, scaled to a person 220 pixels high."""
    scale = 220 / float(np.max(boxes[:, 2:] - boxes[:, :2]))
    pairs = zip(found.stages, wanted.stages, strict=True)
    return max(float(np.linalg.norm(a - b, axis=-1).max()) for a, b in pairs) * scale


def parity(make: Make = on_gpu, counts: tuple[int, ...] = CHANGING) -> dict[str, Any]:
    """Graphs and plain streams against the host, buckets changing, two frames in flight."""
    bundle = Bundle()
    host, rows, passed = HostCascade(bundle, open_backend("onnxruntime")), [], True
    for precision, name in (("fp32", "float32"), ("fp16", "float16")):
        for graphs in (True, False):
            cascade = DeviceCascade(bundle, make(precision), graphs=graphs)
            worst = 0.0
            for n in counts:
                frame, boxes = scene(n)
                other = lent(cascade, frame[:, ::-1])
                calls = [(f, cascade.submit([Frame(f, 0, 0, 0)], boxes, [0] * n))
                         for f in (frame, other, frame)]  # fmt: skip
                for picture, pending in calls:
                    # Early, from within the graph: what the runner steers by.
                    early, _ = pending.stage(1)
                    poses, wanted = pending.result(), host(picture, boxes)
                    worst = max(worst, off(poses, wanted, boxes))
                    if not np.array_equal(early, poses.stages[0]):
                        worst = float("inf")
            cascade.close()
            passed &= worst <= ALLOWED[name]
            rows.append({"precision": name, "graphs": graphs, "pixels": worst})
    host.close()
    return {"rows": rows, "persons": counts, "passed": passed}


def median(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def parts(cascade: DeviceCascade, frame: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """Seconds of upload, crops, networks and boxes by the device's own events, call by call."""
    device, slot = cascade.device, cascade._slots[0]
    cascade(frame, boxes)
    slot.idle()
    program, stream = slot.program(cascade.bucket(len(boxes)), 0), slot.stream
    marks: list[tuple[str, Any]] = []

    def mark(name: str) -> None:
        event = device.event(timing=True)
        event.record(stream)
        marks.append((name, event))

    mark("begin")
    table = slot.frames.put([frame], stream)
    mark("upload of the frame")
    slot.buffers.request.fill(0, boxes, np.zeros(len(boxes), np.int64), table)
    program.enqueue(0, stream, mark=mark)
    stream.synchronize()
    spans = itertools.pairwise(marks)
    return {name: event.seconds_since(before) for (_, before), (name, event) in spans}


class Counted:
    """An event or a graph of which the calls of one method are counted."""

    def __init__(self, own: Any, method: str, calls: list[str]) -> None:
        self._own, self._method, self._calls = own, method, calls

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._calls.append(name)
        return getattr(self._own, name)


def counted(cascade: DeviceCascade, frame: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """Launches of graphs and waits of the host, a frame, as a slot's graphs and events are used."""
    calls: list[str] = []
    for slot in cascade._slots:
        slot.idle()
        slot.finished = Counted(slot.finished, "synchronize", calls)
        slot.events[:] = [Counted(event, "synchronize", calls) for event in slot.events]
        program = slot.program(cascade.bucket(len(boxes)), 0)
        program.graph = program.graph and Counted(program.graph, "launch", calls)
    frames = 2 * len(cascade._slots)
    for _ in range(frames):
        cascade(frame, boxes)
    launches = calls.count("launch")
    return {"launches": launches / frames, "synchronisations": (len(calls) - launches) / frames}


def pipelined(cascade: DeviceCascade, frame: np.ndarray, boxes: np.ndarray, frames: int) -> float:
    """Seconds a frame with two in flight."""
    index, pending = np.zeros(len(boxes), np.int64), None
    start = time.perf_counter()
    for _ in range(frames):
        after = cascade.submit([Frame(frame, 0, 0, 0)], boxes, index)
        if pending is not None:
            pending.result()
        pending = after
    if pending is not None:
        pending.result()
    return (time.perf_counter() - start) / frames


def timings(
    make: Make = on_gpu, counts: tuple[int, ...] = PERSONS, repeats: int = REPEATS
) -> dict[str, Any]:
    """A frame's latency and throughput: graph, plain streams, a round trip after every stage."""
    bundle, rows, passed = Bundle(), [], True
    host = HostCascade(bundle, open_backend("onnxruntime"))
    for precision, name in (("fp32", "float32"), ("fp16", "float16")):
        backend = make(precision)
        ways = {
            "graph": DeviceCascade(bundle, backend),
            "plain": DeviceCascade(bundle, backend, graphs=False),
            "naive": HostCascade(bundle, backend),  # crops on the host, a wait after every network
        }
        for n in counts:
            frame, boxes = scene(n)
            wanted, row = host(frame, boxes), {"precision": name, "persons": n}
            for way, cascade in ways.items():
                poses = cascade(frame, boxes)
                passed &= off(poses, wanted, boxes) <= ALLOWED[name]
                row[way] = median(functools.partial(cascade, frame, boxes), repeats)
            row["naive_over_graph"] = row["naive"] / row["graph"]
            graphs, up = ways["graph"], lent(ways["graph"], frame)
            row["pipelined"] = pipelined(graphs, frame, boxes, repeats)
            row["pipelined_lent"] = pipelined(graphs, up, boxes, repeats)
            graph = graphs._slots[0].program(graphs.bucket(n), 0).graph
            row["nodes"] = None if graph is None else graph.nodes
            row["parts"] = parts(ways["plain"], frame, boxes)
            row |= counted(graphs, frame, boxes)
            rows.append(row)
        for cascade in ways.values():
            cascade.close()
    host.close()
    return {"rows": rows, "device": str(backend.device.facts), "passed": passed}


def memory(
    make: Make = on_gpu, frames: int = MEMORY_FRAMES, counts: tuple[int, ...] = CROWDS
) -> dict[str, Any]:
    """Device memory over many frames whose persons change: flat once every bucket was seen."""
    cascade = DeviceCascade(Bundle(), make("fp16"))
    scenes = [scene(n) for n in counts]
    used: list[int] = []
    for i in range(frames + 4 * len(scenes)):
        cascade(*scenes[i % len(scenes)])
        if i >= 4 * len(scenes) and i % max(1, frames // 100) == 0:
            used.append(cascade.device.memory_in_use())
    cascade.close()
    grown = max(used) - used[0]
    return {"frames": frames, "bytes": used[0], "grown": grown, "passed": grown < 1 << 20}
