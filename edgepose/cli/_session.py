"""One run of ``edgepose-run``: opens everything, moves the results, reports."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgepose.api import estimator, load, load_detector
from edgepose.bundle import Bundle
from edgepose.cli._common import progress
from edgepose.cli._systemd import watched
from edgepose.errors import BackendError
from edgepose.files import STDOUT
from edgepose.output.open import check_apart, open_outputs
from edgepose.people.detector import PersonDetector, whole_frame
from edgepose.runner.capture import Feed
from edgepose.runner.lifecycle import Patience
from edgepose.runner.pipeline import Pipeline
from edgepose.runner.policy import DropPolicy
from edgepose.sources.open import open_source
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import RunInfo

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.backends import Backend
    from edgepose.output.outputs import Outputs
    from edgepose.runner.statistics import SourceStats, Stats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the user asked for; see ``edgepose-run --help``."""

    sources: Sequence[str | int]
    wanted: SourceOptions
    outputs: Mapping[str, str | bool]
    bundle: Path | None
    backend: str
    threads: int | None
    recipe: Path | None
    build: bool
    max_persons: int
    detect_every: int | None
    max_frames: int | None
    smooth: bool
    policy: DropPolicy
    structured: bool
    give_up: float | None = None
    full: bool = False


def run(options: Options) -> bool:
    """Do the run and print its summary; whether it was interrupted. Raises EdgeposeError.

    Outputs are checked first and made last, when every source has given a frame and the networks
    are loaded: a run that cannot begin leaves older files as they are.
    """
    from rich.console import Console

    outputs = open_outputs(options.outputs)
    written = [place.sink.path for place in outputs.placed if place.sink.path is not None]
    console = Console(stderr=STDOUT in written, highlight=False, quiet=options.structured)
    with contextlib.ExitStack() as stack:
        feeds = _open(options, stack)
        sources = [feed.source for feed in feeds]
        check_apart(outputs, [source.path for source in sources if source.path is not None])
        model = Bundle(options.bundle)
        with _backend(options) as backend:
            cascade = load(model, backend, options.threads)
            detector: PersonDetector = whole_frame
            if not options.full:
                detector = load_detector(model, backend, options.threads)
        console.print(f"[bold]{cascade.description}[/]", soft_wrap=True)
        stack.callback(cascade.close)
        for source in sources:
            console.print(_describe(source), soft_wrap=True, markup=False)
        estimate = estimator(
            sources,
            cascade,
            detector,
            detect_every=options.detect_every,
            max_persons=options.max_persons,
            smooth=options.smooth,
            full=options.full,
        )
        pipeline = Pipeline(
            feeds,
            estimate,
            policy=options.policy,
            max_frames=options.max_frames,
            patience=Patience(give_up=options.give_up),
        )
        fates = pipeline.stats.sources
        seen = tuple(source.info for source in sources)
        outputs.start(
            RunInfo(cascade.bundle.name, cascade.backend, cascade.skeleton, seen, lambda: fates)
        )
        stack.callback(outputs.close)
        stack.enter_context(pipeline)
        for place in outputs.placed:
            if place.sink.notice:
                console.print(place.sink.notice, soft_wrap=True, markup=False)
        log.info(
            "run started",
            extra={
                "bundle": cascade.bundle.name,
                "backend": cascade.backend,
                "sources": [source.name for source in sources],
                "notices": [p.sink.notice for p in outputs.placed if p.sink.notice],
            },
        )
        interrupted = False
        try:
            total = _total(sources, options.max_frames)
            with (
                _stops(pipeline) as signals,
                progress("", total) as advance,
                watched(lambda: any(fate.state == "running" for fate in fates)) as alive,
            ):
                for result in pipeline:
                    if not outputs.write(result):
                        pipeline.stop()
                    advance(1)
                    alive()
                    # A frame is megabytes: let it go before the next one is waited for.
                    del result
            interrupted = bool(signals)
        finally:
            # Also after an error: what came before it is there.
            pipeline.close()
            if pipeline.reading:
                # A device that does not answer is not waited for: it is left to the process's end.
                stack.pop_all()
            outputs.close()
            _log_end(pipeline.stats, outputs)
            if pipeline.stats.frames:
                _report(console, pipeline.stats, sources)
                for worker in outputs.workers:
                    if worker.late or worker.lost:
                        console.print(
                            f"{worker.option}: {worker.written} results, {worker.late} left out "
                            f"because it was behind, {worker.lost} lost to errors",
                            soft_wrap=True,
                        )
                for path in written:
                    if path != STDOUT:
                        console.print(f"wrote {path}", markup=False, soft_wrap=True)
        if outputs.error is not None:
            raise outputs.error
        return interrupted


def _log_end(stats: Stats, outputs: Outputs) -> None:
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


def _open(options: Options, stack: contextlib.ExitStack) -> list[Feed]:
    """Every source, open; a lost one is opened again the same way."""
    feeds = []
    for number, spec in enumerate(options.sources):
        again = functools.partial(open_source, spec, options.wanted, number=number)
        feeds.append(Feed(again(), again))
        stack.callback(feeds[-1].source.close)
    return feeds


def _total(sources: Sequence[Source], max_frames: int | None) -> int | None:
    """How many results there will be, where somebody knows."""
    total = 0
    for source in sources:
        known = [n for n in (source.length, max_frames) if n is not None]
        if source.live or not known:
            return None
        total += min(known)
    return total


@contextlib.contextmanager
def _backend(options: Options) -> Iterator[str | Backend]:
    """What runs the networks; shows the building of engines while they are loaded."""
    if options.backend != "tensorrt":
        if options.recipe is not None or not options.build:
            raise BackendError("--recipe and --no-build go with --backend tensorrt; leave them out")
        yield options.backend
        return
    from rich.console import Console

    from edgepose.backends.tensorrt import TensorRt
    from edgepose.cli._building import Live
    from edgepose.engine.recipe import EngineRecipe, read_engine_recipe
    from edgepose.verify.engines import Verifier

    recipe, again = EngineRecipe(), tuple[str, ...]()
    if options.recipe is not None:
        recipe, again = read_engine_recipe(options.recipe), ("--recipe", str(options.recipe))
    with Live(Console(stderr=True, highlight=False)) as report:
        yield TensorRt(
            recipe=recipe, build=options.build, report=report, options=again, check=Verifier
        )


@contextlib.contextmanager
def _stops(pipeline: Pipeline) -> Iterator[list[int]]:
    """SIGINT and SIGTERM end the run at the next frame; a second one breaks it off."""
    caught: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        pipeline.stop()

    # What the caller has us ignore (nohup, a shell's background) stays ignored.
    heard = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.signal(s, stop) for s in heard}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _describe(source: Source) -> str:
    parts = [source.name, f"{source.width} x {source.height}"]
    if source.fps is not None:
        parts.append(f"{source.fps:g} fps")
    if source.length is not None:
        parts.append(f"{source.length} {'frames' if source.continuous else 'pictures'}")
    return ", ".join(parts)


def _report(console: Console, stats: Stats, sources: Sequence[Source]) -> None:
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


def _fate(source: Source, own: SourceStats) -> str:
    """How one source fared."""
    parts = [f"{own.name}: {own.state}", f"{own.frames} frames"]
    if source.live:
        parts.append(f"{own.dropped} dropped")
        parts.append(f"age p50 {own.age(50):.0f} ms, p99 {own.age(99):.0f} ms")
        parts += [f"{own.stalls} stalls"] * (own.stalls > 0)
        parts += [f"{own.reconnects} times opened again"] * (own.reconnects > 0)
    return ", ".join(parts)
