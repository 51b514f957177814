"""One run of ``edgepose-eval``: opens everything, measures set by set, reports."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgepose.cli._common import progress
from edgepose.data.records import Pictures, numbered_records
from edgepose.errors import OutputError
from edgepose.evaluate import plots, report
from edgepose.evaluate.estimates import estimate
from edgepose.files import STDOUT, check_writable, same_file, write_output

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.evaluate.estimates import Estimates

FORMAT = 1


@dataclass(frozen=True)
class Options:
    """What the user asked for; see ``edgepose-eval --help``. ``split`` None is every line."""

    data: Sequence[Path]
    split: str | None
    detect: bool
    limit: int | None
    json: Path | None
    predictions: Path | None
    reliability: Path | None
    bundle: Path | None
    backend: str
    threads: int | None


def run(options: Options) -> None:
    """Measure every set, print its tables and write what was asked for. Raises EdgeposeError.

    Everything is opened and checked before the first person is measured, and files take their
    place at the very end: a run that fails or is broken off leaves older ones as they are.
    """
    from rich.console import Console

    from edgepose.api import load, load_detector
    from edgepose.bundle import Bundle

    named = (options.json, options.predictions, options.reliability)
    outputs = [path for path in named if path is not None]
    console = Console(stderr=STDOUT in outputs, highlight=False)
    _check_outputs(options, outputs)
    with contextlib.ExitStack() as stack:
        samples = [numbered_records(path, options.split)[: options.limit] for path in options.data]
        pictures = [stack.enter_context(Pictures(path)) for path in options.data]
        bundle = Bundle(options.bundle)
        cascade = load(bundle, options.backend, options.threads)
        detector = None
        if options.detect:
            detector = load_detector(bundle, options.backend, options.threads)
        console.print(f"[bold]{cascade.description}[/]", soft_wrap=True)
        sets: list[dict[str, Any]] = []
        lines: list[bytes] = []
        drawn: dict[str, Estimates] = {}
        for path, chosen, opened in zip(options.data, samples, pictures, strict=True):
            with progress(path.name, len(chosen)) as advance:
                estimates = estimate(chosen, opened, cascade, detector, advance)
            sets.append(_report(console, options, path, estimates))
            if options.reliability is not None:
                drawn[path.stem if path.stem not in drawn else str(path)] = estimates
            if options.predictions is not None:
                several = len(options.data) > 1
                lines += report.prediction_lines(estimates, str(path) if several else None)
    if options.json is not None:
        whole = {
            "edgepose": FORMAT,
            "bundle": bundle.name,
            "backend": cascade.backend,
            "skeleton": bundle.skeleton.name,
            "sets": sets,
        }
        write_output(options.json, msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    if options.predictions is not None:
        write_output(options.predictions, b"".join(lines))
    if options.reliability is not None:
        write_output(options.reliability, plots.reliability(drawn, options.reliability.suffix))
    for path in outputs:
        if path != STDOUT:
            console.print(f"wrote {path}", markup=False, soft_wrap=True)


def _report(console: Console, options: Options, path: Path, estimates: Estimates) -> dict[str, Any]:
    """Print a set's tables; gives the same as plain data."""
    stages = report.figures(estimates)
    pictures = len(set(estimates.images))
    which = "all lines" if options.split is None else f"split {options.split}"
    boxes = "the detector's boxes" if options.detect else "true boxes"
    console.print(
        f"\n{path}: {_count(len(estimates), 'person')} in {_count(pictures, 'picture')}, {which}, "
        f"{boxes}",
        markup=False,
        soft_wrap=True,
    )
    facts: dict[str, Any] = {"data": str(path), "split": options.split, "limit": options.limit}
    facts["boxes"] = "detect" if options.detect else "truth"
    if options.detect:
        recall, missed = report.recall(estimates), int((~estimates.found).sum())
        facts |= {"detection": {"recall@0.5": round(100 * recall, 2), "missed": missed}}
        console.print(
            f"detection: recall {100 * recall:.1f} at an IoU of {report.RECALL_IOU}; "
            f"{_count(missed, 'person')} missed, wrong in all joints",
            soft_wrap=True,
        )
    for make in (report.summary_table, report.joint_table, report.limb_table):
        console.print()
        console.print(make(stages))
    return facts | report.as_json(estimates, stages)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _check_outputs(options: Options, outputs: Sequence[Path]) -> None:
    for first, second in itertools.combinations(outputs, 2):
        if same_file(first, second):
            raise OutputError(f"two outputs both name '{first}'; give two paths.")
    if options.reliability is not None:
        plots.check_format(options.reliability)
    for path in outputs:
        check_writable(path)
        for data in options.data:
            folder = data.with_suffix("")
            inputs = (data, data.with_suffix(".tar"))
            inside = path.exists() and Path(os.path.realpath(folder)) in (
                Path(os.path.realpath(path)).parents
            )
            if inside or any(same_file(path, given) for given in inputs):
                raise OutputError(
                    f"'{path}' belongs to the data and would be overwritten; give another path."
                )
