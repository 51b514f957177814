"""One run of ``edgepose-run``: opens everything, moves the results, reports."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgepose.api import estimator, load, load_detector, open_feeds
from edgepose.bundle import Bundle
from edgepose.cli._common import progress
from edgepose.cli._run_report import describe, log_end, report
from edgepose.cli._systemd import watched
from edgepose.errors import BackendError
from edgepose.files import STDOUT
from edgepose.output.open import check_apart, open_outputs
from edgepose.people.detector import PersonDetector, whole_frame
from edgepose.runner.lifecycle import Patience
from edgepose.runner.pipeline import Pipeline
from edgepose.runner.policy import DropPolicy
from edgepose.sources.source import SourceOptions
from edgepose.types import RunInfo

if TYPE_CHECKING:
    from edgepose.backends import Backend

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
        feeds = open_feeds(options.sources, stack, options.wanted)
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
            console.print(describe(source), soft_wrap=True, markup=False)
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
            with (
                _stops(pipeline) as signals,
                progress("", pipeline.expected) as advance,
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
            log_end(pipeline.stats, outputs)
            if pipeline.stats.frames:
                report(console, pipeline.stats, sources, outputs)
        if outputs.error is not None:
            raise outputs.error
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
    from edgepose.cli._build_report import Live
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
