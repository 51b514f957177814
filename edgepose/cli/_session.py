"""One run of ``edgepose-run``: opens everything, moves the results, reports."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgepose.api import estimator, load, load_detector
from edgepose.bundle import Bundle
from edgepose.cascade.host import HostCascade
from edgepose.errors import BackendError, OutputError
from edgepose.output import check_writable
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.open import open_source
from edgepose.sources.source import Source
from edgepose.types import Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from edgepose.backends import Backend
    from edgepose.runner.statistics import Stats

_STDOUT = Path("-")


@dataclass(frozen=True)
class Options:
    """What the user asked for; see ``edgepose-run --help``."""

    source: str | int
    show: bool
    out: Path | None
    json: Path | None
    bundle: Path | None
    backend: str
    threads: int | None
    recipe: Path | None
    build: bool
    max_persons: int
    detect_every: int | None
    max_frames: int | None
    smooth: bool


def run(options: Options) -> bool:
    """Do the run and print its summary; whether it was interrupted. Raises EdgeposeError.

    Outputs are checked first and made last, when the source has given a frame and the networks are
    loaded: a run that cannot begin leaves older files as they are.
    """
    from rich.console import Console

    console = Console(stderr=options.json == _STDOUT, highlight=False)
    _check_outputs(options)
    with contextlib.ExitStack() as stack:
        source = open_source(options.source)
        # Its threads may still hold a device that does not answer: then it is not waited for.
        pipeline: Pipeline | None = None
        stack.callback(lambda: None if pipeline and pipeline.reading else source.close())
        _check_apart(options, source)
        model = Bundle(options.bundle)
        with _backend(options) as backend:
            cascade = load(model, backend, options.threads)
            detector = load_detector(model, backend, options.threads)
        console.print(f"[bold]{cascade.description}[/]", soft_wrap=True)
        console.print(_describe(source), soft_wrap=True, markup=False)
        estimate = estimator(
            source,
            cascade,
            detector,
            detect_every=options.detect_every,
            max_persons=options.max_persons,
            smooth=options.smooth,
        )
        sinks = stack.enter_context(_Sinks(options, source, cascade))
        pipeline = stack.enter_context(Pipeline(source, estimate, max_frames=options.max_frames))
        interrupted = False
        try:
            with _stops(pipeline) as signals, _progress(source, options.max_frames) as advance:
                for result in pipeline:
                    if not sinks.write(result):
                        pipeline.stop()
                    advance(result.index)
                    # A frame is megabytes: let it go before the next one is waited for.
                    del result
            interrupted = bool(signals)
        finally:
            # Also after an error: what came before it is there.
            sinks.close()
            pipeline.close()
            if pipeline.stats.frames:
                _report(console, pipeline.stats, source)
                for path in (options.out, options.json):
                    if path is not None and path != _STDOUT:
                        console.print(f"wrote {path}", markup=False, soft_wrap=True)
        return interrupted


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


class _Sinks:
    """The outputs that were asked for."""

    def __init__(self, options: Options, source: Source, cascade: HostCascade) -> None:
        from edgepose.output.jsonl import JsonLines

        self._closing = contextlib.ExitStack()
        self._window = self._video = self._overlay = self._json = None
        size = (source.width, source.height)
        with contextlib.ExitStack() as opened:
            if options.show:
                from edgepose.output.window import Window

                self._window = Window(size)
                opened.callback(self._window.close)
            if options.out is not None:
                from edgepose.output.video import VideoWriter

                self._video = VideoWriter(options.out, size, source.fps, clock=source.live)
                opened.callback(self._video.close)
            if options.json is not None:
                self._json = JsonLines(None if options.json == _STDOUT else options.json)
                opened.callback(self._json.close)
                self._json.start(
                    bundle=cascade.bundle.name,
                    backend=cascade.backend,
                    skeleton=cascade.skeleton,
                    source=source.name,
                    size=size,
                    fps=source.fps,
                )
            if self._window is not None or self._video is not None:
                from edgepose.output.overlay import Overlay

                self._overlay = Overlay(cascade.skeleton)
            self._closing = opened.pop_all()

    def write(self, result: Result) -> bool:
        """Give ``result`` to every output; False once the user has closed the window."""
        if self._json is not None:
            self._json.write(result)
        if self._overlay is not None:
            # Nobody reads the frame after this: it is drawn on in place.
            self._overlay.draw(result.frame, result.people)
        if self._video is not None:
            self._video.write(result.frame, result.time)
        return self._window is None or self._window.show(result.frame)

    def close(self) -> None:
        """Finish every output; may be called again."""
        self._closing.close()

    def __enter__(self) -> _Sinks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_outputs(options: Options) -> None:
    if options.out is not None:
        from edgepose.output.video import check_video

        check_video(options.out)
    if options.json is not None and options.json != _STDOUT:
        check_writable(options.json)
    if options.out is not None and options.json is not None and _same(options.out, options.json):
        raise OutputError(f"--out and --json both name '{options.out}'; give two paths.")


def _check_apart(options: Options, source: Source) -> None:
    """The source must not be written over, neither a file nor a picture of a folder."""
    for option, path in (("--out", options.out), ("--json", options.json)):
        if path is None or path == _STDOUT or source.path is None:
            continue
        inside = source.path.is_dir() and any(_same(path, p) for p in source.path.iterdir())
        if inside or _same(path, source.path):
            raise OutputError(f"{option} would overwrite the source '{path}'; give another path.")


def _same(a: Path, b: Path) -> bool:
    with contextlib.suppress(OSError):
        return a.samefile(b)
    return os.path.realpath(a) == os.path.realpath(b)


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


class _Advance:
    """Moves the progress bar, ten times a second at most."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress, self._next = progress, 0.0
        if progress is not None:
            self._task = progress.add_task("", total=total)

    def __call__(self, index: int) -> None:
        if self._progress is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._progress.update(self._task, completed=index + 1, refresh=True)


@contextlib.contextmanager
def _progress(source: Source, max_frames: int | None) -> Iterator[_Advance]:
    if not sys.stderr.isatty():
        yield _Advance(None, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    known = [n for n in (source.length, max_frames) if n is not None]
    total = min(known) if known and not source.live else None
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    ) as progress:
        advance = _Advance(progress, total)
        yield advance


def _describe(source: Source) -> str:
    parts = [source.name, f"{source.width} x {source.height}"]
    if source.fps is not None:
        parts.append(f"{source.fps:g} fps")
    if source.length is not None:
        parts.append(f"{source.length} {'frames' if source.continuous else 'pictures'}")
    return ", ".join(parts)


def _report(console: Console, stats: Stats, source: Source) -> None:
    from rich.table import Table

    table = Table("milliseconds", box=None, pad_edge=False, header_style="dim")
    for heading in ("p50", "p95", "p99", "frames"):
        table.add_column(heading, justify="right")
    for t in stats.timings():
        table.add_row(t.stage, f"{t.p50:.1f}", f"{t.p95:.1f}", f"{t.p99:.1f}", str(t.frames))
    people = len(stats.people)
    line = f"{stats.frames} frames in {stats.elapsed:.2f} s, {stats.fps:.1f} FPS"
    if source.continuous:
        line += f", {people} person{'' if people == 1 else 's'}"
    if source.live:
        line += f", {stats.dropped} dropped (only the newest frame counts)"
    console.print(line, soft_wrap=True, markup=False)
    console.print(table)
