"""What ``edgepose-run`` says of its sources before a run and of everything after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgepose.files import STDOUT
from edgepose.output.outputs import Outputs
from edgepose.runner.statistics import SourceStats, Stats
from edgepose.sources.source import Source

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)


def describe(source: Source) -> str:
    """Name, size, rate and length."""
    parts = [source.name, f"{source.width} x {source.height}"]
    if source.fps is not None:
        parts.append(f"{source.fps:g} fps")
    if source.length is not None:
        parts.append(f"{source.length} {'frames' if source.continuous else 'pictures'}")
    return ", ".join(parts)


def report(console: Console, stats: Stats, sources: Sequence[Source], outputs: Outputs) -> None:
    """Print what the run has done, how its sources and outputs fared, and what the steps took."""
    from rich.table import Table

    table = Table("milliseconds", box=None, pad_edge=False, header_style="dim")
    for heading in ("p50", "p95", "p99", "frames"):
        table.add_column(heading, justify="right")
    for t in stats.timings():
        table.add_row(t.stage, f"{t.p50:.1f}", f"{t.p95:.1f}", f"{t.p99:.1f}", str(t.frames))
    line = f"{stats.frames} frames in {stats.elapsed:.2f} s, {stats.fps:.1f} FPS"
    if any(source.continuous for source in sources):
        line += f", {stats.people} person{'' if stats.people == 1 else 's'}"
    console.print(line, soft_wrap=True, markup=False)
    for source, own in zip(sources, stats.sources, strict=True):
        if source.live or len(sources) > 1:
            console.print(_fate(source, own), soft_wrap=True, markup=False)
    console.print(table)
    for worker in outputs.workers:
        if worker.late or worker.lost:
            console.print(
                f"{worker.option}: {worker.written} results, {worker.late} left out "
                f"because it was behind, {worker.lost} lost to errors",
                soft_wrap=True,
            )
    for place in outputs.placed:
        if place.sink.path not in (None, STDOUT):
            console.print(f"wrote {place.sink.path}", markup=False, soft_wrap=True)


def _fate(source: Source, own: SourceStats) -> str:
    """How one source fared."""
    parts = [f"{own.name}: {own.state}", f"{own.frames} frames"]
    if source.live:
        parts.append(f"{own.dropped} dropped")
        parts.append(f"age p50 {own.age(50):.0f} ms, p99 {own.age(99):.0f} ms")
        parts += [f"{own.stalls} stalls"] * (own.stalls > 0)
        parts += [f"{own.reconnects} times opened again"] * (own.reconnects > 0)
    return ", ".join(parts)


def log_end(stats: Stats, outputs: Outputs) -> None:
    """The same as one record of the log."""
    log.info(
        "run finished",
        extra={
            "frames": stats.frames,
            "seconds": round(stats.elapsed, 3),
            "fps": round(stats.fps, 2),
            "sources": [
                {"name": s.name, "state": s.state, "frames": s.frames, "dropped": s.dropped}
                for s in stats.sources
            ],
            "outputs": [
                {"output": w.option, "written": w.written, "late": w.late, "lost": w.lost}
                for w in outputs.workers
            ],
            "milliseconds": {
                t.stage: {"p50": round(t.p50, 2), "p99": round(t.p99, 2)} for t in stats.timings()
            },
        },
    )
