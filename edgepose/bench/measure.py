"""The measurements of ``edgepose-bench``: each a call on the sample clip, its result checked."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from edgepose.api import load, load_detector, open_source, stream
from edgepose.backends import BACKENDS, Backend, open_backend
from edgepose.bench.results import Row, Run
from edgepose.bundle import Bundle
from edgepose.crop import cpu, crop, info
from edgepose.crop.normalisation import normalisation
from edgepose.cuda.driver import driver
from edgepose.errors import BackendError, EdgeposeError
from edgepose.geometry import box_iou, square_boxes
from edgepose.nv12 import as_bgr
from edgepose.sources.open import SAMPLE_BOX
from edgepose.types import Float, Image, Result
from edgepose.verify.golden import verify_golden

PERSONS = (1, 4, 16)
INTERVALS = (5, 10, 20, 40)  # frames between two looks of the detector
CROPS, CROP_SIZE = 14, 64


@dataclass
class Measured:
    """What :func:`measure` finds; ``skipped`` says what is not there, and why."""

    rows: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long each figure is measured: seconds, at least so many rounds; frames of a run."""

    seconds: float = 0.6
    rounds: int = 5
    frames: int = 100
    longest: float = 12.0  # seconds of a run, on a machine that is slow


def thread_counts() -> list[int]:
    """1, 2 and 4, as far as this process has cores."""
    cores = len(os.sched_getaffinity(0))
    return [n for n in (1, 2, 4) if n == 1 or n <= cores]


def measure(
    bundle: Bundle,
    backends: list[str] | None = None,
    effort: Effort | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Measure all that is here. ``backends``: these alone; ``tell`` hears what is done next.

    A backend that is not installed, cannot run here or gives wrong results is skipped, with the
    reason; BackendError if none is left.
    """
    effort, found = effort or Effort(), Measured()
    with open_source("sample") as source:
        frame = as_bgr(next(iter(source)).image)
    found.rows += _crop_rows(frame, effort, tell)
    for name in backends or BACKENDS:
        if name in ("tensorrt", "torch") and not driver().gpus:
            found.skipped[name] = driver().problem
            continue
        try:
            for threads in thread_counts():
                backend = open_backend(name, threads)
                if threads == 1:
                    verify_golden(bundle, backend)
                tell(f"{name}, {threads} threads: cascade and detector")
                found.rows += network_rows(bundle, backend, threads, frame, effort)
        except EdgeposeError as error:
            found.skipped[name] = str(error)
    ways = {row.way.split()[0]: row for row in found.rows if row.what == "cascade"}
    if not ways:
        reasons = "; ".join(f"{name}: {why}" for name, why in found.skipped.items())
        raise BackendError(f"no backend can be measured here ({reasons}); install onnxruntime")
    best = min((r for r in found.rows if r.what == "cascade" and r.persons == 1), key=_time)
    name = best.way.split()[0]
    for threads in thread_counts():
        tell(f"edgepose-run on the sample, {threads} threads")
        found.runs.append(_run(bundle, name, best.way, threads, 20, effort))
    threads = max(found.runs, key=lambda run: run.fps).threads
    for interval in (n for n in INTERVALS if n != 20):
        tell(f"edgepose-run on the sample, detector every {interval} frames")
        found.runs.append(_run(bundle, name, best.way, threads, interval, effort))
    return found


def timed(call: Callable[[], object], effort: Effort) -> tuple[float, float, float, int]:
    """Median and quartiles of the milliseconds that ``call`` takes, and how often it was made."""
    call()
    spent: list[float] = []
    end = time.perf_counter() + effort.seconds
    while len(spent) < effort.rounds or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        spent.append(1e3 * (time.perf_counter() - begin))
    low, median, high = (float(v) for v in np.percentile(spent, (25, 50, 75)))
    return median, low, high, len(spent)


def _time(row: Row) -> float:
    return row.milliseconds


def sample_boxes(persons: int) -> Float:
    """(persons, 4) boxes: the man of the sample's first frame, moved by a pixel each time."""
    boxes = np.repeat(np.array([SAMPLE_BOX], np.float32), persons, 0)
    return boxes + np.arange(persons, dtype=np.float32)[:, None]


def _crop_rows(frame: Image, effort: Effort, tell: Callable[[str], None]) -> Iterator[Row]:
    """Every path of the kernel that this processor has, on joint crops of the sample."""
    x0, y0, x1, y1 = square_boxes(np.array([SAMPLE_BOX], np.float32), 0.5)[0]
    boxes = np.array([[x0, y0, x1, y1]], np.float32) + 9.5 * np.arange(CROPS)[:, None]
    boxes = boxes.astype(np.float32)
    colour = normalisation(1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), None)
    index, out = np.zeros(CROPS, np.int64), np.empty((CROPS, 3, CROP_SIZE, CROP_SIZE), np.float32)
    exact = crop(
        frame, boxes[:1], CROP_SIZE, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3,
        impl="reference",
    )  # fmt: skip
    for path in info().present:
        tell(f"crop kernel, {path}")
        figures = timed(
            partial(cpu.crop, [frame], boxes, index, out, colour, True, 1, path), effort
        )
        if not np.abs(out[:1] - exact).max() <= 0.02 * 4 / 255:
            raise BackendError(f"the crop kernel's path {path} is wrong here; report this")
        yield Row("crop", path, 1, CROPS, *figures)


def network_rows(
    bundle: Bundle, backend: Backend, threads: int, frame: Image, effort: Effort
) -> list[Row]:
    """Cascade for 1, 4, 16 persons, and the detector, on one backend."""
    way = f"{backend.name} {backend.precision}"
    cascade, rows = load(bundle, backend), []
    with contextlib.closing(cascade):
        for persons in PERSONS:
            boxes = sample_boxes(persons)
            figures = timed(partial(cascade, frame, boxes), effort)
            poses = cascade(frame, boxes)
            if not np.isfinite(poses.joints).all():
                raise BackendError(f"{way} gives joints that are no numbers")
            rows.append(Row("cascade", way, threads, persons, *figures))
    if bundle.manifest.detector is not None:
        detector = load_detector(bundle, backend)
        figures = timed(partial(detector, frame), effort)
        found = detector(frame)
        if bundle.manifest.name == Bundle().manifest.name and not (
            len(found) and box_iou(sample_boxes(1), found[:, :4]).max() > 0.5
        ):
            raise BackendError(f"{way} does not find the man in the sample")
        rows.append(Row("detector", way, threads, 1, *figures))
    return rows


def _run(
    bundle: Bundle, backend: str, way: str, threads: int, interval: int, effort: Effort
) -> Run:
    """The whole program on the sample clip; the first tenth of the frames is not counted."""
    head = max(1, effort.frames // 10)
    results = stream(
        "sample",
        bundle=bundle.folder,
        backend=backend,
        threads=threads,
        detect_every=interval,
        max_frames=effort.frames,
    )
    begin, people = 0.0, 0
    with contextlib.closing(cast("Generator[Result]", results)):
        for count, result in enumerate(results, 1):
            people += len(result.people)
            now = time.perf_counter()
            if count == head:
                begin = now
            elif count > head and now - begin > effort.longest:
                break
    fps = (count - head) / (now - begin)
    if bundle.folder == Path(Bundle().folder) and people < count / 2:
        raise BackendError(f"{way} finds nobody in the sample clip")
    return Run(way, threads, interval, fps, count)
