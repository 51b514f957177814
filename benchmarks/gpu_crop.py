"""The crop kernel on a GPU: parity, and timings beside PyTorch; steps of ``gpu_bench.py``."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product
from typing import Any

import gpu_cases
import numpy as np
from gpu_device import DRY, Mover
from gpu_peers import TorchPeers

from edgepose.crop import cuda
from edgepose.crop.native import module
from edgepose.cuda.device import Device

HEIGHT, WIDTH = 720, 1280
COPY_BYTES = 1 << 24 if DRY else 1 << 30
SHARE_OF_COPY = 0.7  # goal at 1,400 boxes
TIMES_EMPTY = 2.0  # goal at 14 boxes
STANDARD = "bt709"
Frame = np.ndarray | tuple[np.ndarray, np.ndarray]
"""BGR, or the planes of NV12."""


def parity(
    boxes: int,
    upload: Callable[[np.ndarray], Any],
    download: Callable[[Any], np.ndarray],
    stream: int = 0,
) -> dict[str, Any]:
    """Hold the kernel to the definition; errors are multiples of the contract's tolerance."""
    worst = {"float32": 0.0, "float16": 0.0}
    for case in gpu_cases.cases(boxes):
        out = upload(np.full((len(case.boxes), 3, *case.size), np.nan, case.dtype))
        got = download(gpu_cases.run(case, upload, out=out, stream=stream))
        error = gpu_cases.error(case, got, gpu_cases.expected(case))
        name = case.dtype.__name__
        worst[name] = max(worst[name], error)
    passed = all(error <= 1 for error in worst.values())
    return {"boxes": boxes, "worst_error_in_tolerances": worst, "passed": passed}


class Bench:
    """Times what is launched on its stream, by events around replays of a graph."""

    def __init__(self, device: Device) -> None:
        self.cuda, self._device, self._mover = cuda, device, Mover(device)
        self.upload, self.download, self.empty = (
            self._mover.upload,
            self._mover.download,
            device.empty,
        )
        self.stream = self._mover.stream.handle

    def seconds(self, work: Callable[[], Any], repeats: int) -> float:
        """Median device time of one call of ``work``, launched ``repeats`` times in a row."""
        stream = self._mover.stream
        work()  # kernels are loaded before a capture
        stream.synchronize()
        with self._device.capture(stream) as captured:
            for _ in range(repeats):
                work()
        times = []
        for _ in range(12):
            begin, end = (self._device.event(timing=True) for _ in range(2))
            begin.record(stream)
            captured.graph.launch(stream)
            end.record(stream)
            end.synchronize()
            times.append(end.seconds_since(begin) / repeats)
        captured.graph.close()
        return float(np.median(times[2:]))

    def host_seconds(self, work: Callable[[], Any], repeats: int) -> float:
        """Median time that the host is kept by one call."""
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
            self._mover.stream.synchronize()
        return float(np.median(times))

    def copy(self) -> Callable[[], Any]:
        """A copy of ``COPY_BYTES`` within the device."""
        a, b = (self.empty((COPY_BYTES,), np.uint8) for _ in range(2))
        stream = self._mover.stream
        return lambda: self._device.copy(b.pointer, a.pointer, COPY_BYTES, stream)

    def launch_nothing(self) -> None:
        """An empty kernel."""
        module().launch_nothing(0, self.stream)


def frame_boxes(n: int, side: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 4) float32 square boxes inside the frame, at fractions of a pixel."""
    low = rng.uniform(0, 1, (n, 2)) * [WIDTH - side, HEIGHT - side]
    return np.concatenate([low, low + side], axis=1).astype(np.float32)


def bytes_moved(boxes: np.ndarray, size: int, dtype: type, pixel: float = 3) -> int:
    """What has to move at least: every output once, every source pixel that is used once.

    ``pixel``: bytes of one, 3 in BGR and 1.5 in NV12.
    """
    used = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist():
        used[y0:y1, x0:x1] = True
    outputs = len(boxes) * 3 * size * size * np.dtype(dtype).itemsize
    return int(outputs + pixel * used.sum() + boxes.nbytes)


def timings(
    bench: Any,
    peers: Callable[[np.ndarray], TorchPeers] | None,
    counts: tuple[int, ...] = (14, 140, 1400),
    sizes: tuple[int, ...] = (96, 220),
    ratios: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 4.0),
) -> dict[str, Any]:
    """Time the kernel beside a copy, an empty launch and PyTorch; every result is checked.

    ``peers`` makes PyTorch's ways from the frame; None: they are left out.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    device_image = bench.upload(image)
    y, uv = image[..., 0].copy(), image[: HEIGHT // 2, : WIDTH // 2, 1:].copy()
    device_nv12 = bench.cuda.NV12(bench.upload(y), bench.upload(uv), STANDARD)
    torch = peers and peers(image)
    copy = bench.seconds(bench.copy(), 4)
    rate = 2 * COPY_BYTES / copy
    nothing = bench.seconds(bench.launch_nothing, 200)
    rows = []
    for n in counts:
        for size in sizes:
            for wanted in ratios:
                ratio = round(min(wanted, HEIGHT / size), 2)  # inside the frame
                boxes = frame_boxes(n, ratio * size, rng)
                inputs = [(image, device_image)] + [((y, uv), device_nv12)] * (ratio == 1)
                for (frame, device_frame), dtype in product(inputs, (np.float32, np.float16)):
                    row = crop_row(bench, frame, device_frame, boxes, size, ratio, dtype)
                    row["share_of_copy"] = row["bytes_per_s"] / rate
                    row["times_empty_launch"] = row["seconds"] / nothing
                    rows.append(row)
                if ratio <= 1 and torch is not None:
                    rows += peer_rows(torch, image, boxes, size, ratio)
    return {"copy_bytes_per_s": rate, "empty_launch_s": nothing, "rows": rows}


def crop_row(
    bench: Any, frame: Frame, device_frame: Any, boxes: np.ndarray, size: int, ratio: float,
    dtype: type,
) -> dict[str, Any]:  # fmt: skip
    out = bench.empty((len(boxes), 3, size, size), dtype)
    device_boxes = bench.upload(boxes)

    def work() -> Any:
        return bench.cuda.crop(
            device_frame, device_boxes, size, dtype=dtype, out=out, stream=bench.stream
        )

    repeats = 100 if len(boxes) <= 14 else 10
    seconds = bench.seconds(work, repeats)
    check(frame, boxes, size, dtype, bench.download(out))
    nv12 = isinstance(frame, tuple)
    moved = bytes_moved(boxes, size, dtype, 1.5 if nv12 else 3)
    return {
        "what": "edgepose NV12" if nv12 else "edgepose",
        "boxes": len(boxes),
        "size": size,
        "ratio": ratio,
        "dtype": np.dtype(dtype).name,
        "seconds": seconds,
        "host_seconds_per_call": bench.host_seconds(work, 50),
        "bytes": moved,
        "bytes_per_s": moved / seconds,
    }


def peer_rows(
    peers: TorchPeers, image: np.ndarray, boxes: np.ndarray, size: int, ratio: float
) -> list[dict[str, Any]]:
    rows = []
    for name, work in peers.ways(boxes, size):
        if name == "torch grid_sample":  # interpolate takes whole pixels of the crop only
            check(image, boxes, size, np.float32, peers.download(work()), allowed=0.2, edge=1)
        row = {"what": name, "boxes": len(boxes), "size": size, "ratio": ratio, "dtype": "float32"}
        rows.append(row | {"seconds": peers.seconds(work, 2)})
    return rows


def check(
    frame: Frame, boxes: np.ndarray, size: int, dtype: type, got: np.ndarray,
    allowed: float = 0.02, edge: int = 0,
) -> None:  # fmt: skip
    """Hold a few crops of a timed result to the definition, ``edge`` outputs off the border."""
    some = np.linspace(0, len(boxes) - 1, 3).astype(int)
    index = np.zeros(len(some), np.int64)
    standard = STANDARD if isinstance(frame, tuple) else None
    case = gpu_cases.Case([frame], standard, boxes[some], index, (size, size), dtype, True)
    inner = (..., slice(edge, size - edge), slice(edge, size - edge))
    error = gpu_cases.error(case, got[some][inner], gpu_cases.expected(case)[inner])
    if not error * 0.02 <= allowed:
        raise AssertionError(f"a timed result is off by {error * 0.02:.3g} levels")


def goals(timed: dict[str, Any]) -> dict[str, Any]:
    """The design's two goals, at a box as large as its crop."""
    ours = [row for row in timed["rows"] if row["what"] == "edgepose" and row["ratio"] == 1]
    many = [row["share_of_copy"] for row in ours if row["boxes"] == 1400]
    few = [row["times_empty_launch"] for row in ours if row["boxes"] == 14]
    return {
        "share_of_copy_at_1400": {"wanted": SHARE_OF_COPY, "least": min(many, default=None)},
        "times_empty_launch_at_14": {"wanted": TIMES_EMPTY, "most": max(few, default=None)},
        "met": bool(many and few) and min(many) >= SHARE_OF_COPY and max(few) <= TIMES_EMPTY,
    }


def table(timed: dict[str, Any]) -> str:
    """The timings for people."""
    lines = [
        f"copy {timed['copy_bytes_per_s'] / 1e9:.0f} GB/s, "
        f"empty launch {timed['empty_launch_s'] * 1e6:.2f} us",
        f"{'':18} boxes    S    r dtype           us  of copy  x empty",
    ]
    for row in timed["rows"]:
        line = f"{row['what']:18} {row['boxes']:5} {row['size']:4} {row['ratio']:4} "
        line += f"{row['dtype']:8} {row['seconds'] * 1e6:9.1f}"
        if "share_of_copy" in row:
            line += f" {row['share_of_copy']:8.0%} {row['times_empty_launch']:8.1f}"
        lines.append(line)
    return "\n".join(lines)
