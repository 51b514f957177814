"""One run of ``edgepose-eval``: opens everything, measures set by set, reports."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgepose.cli._common import progress
from edgepose.cli._detection import SceneSet, measure
from edgepose.cli._sheet import worst_sheet
from edgepose.data.records import Pictures, numbered_records
from edgepose.data.scenes import holds_scenes, load_scenes
from edgepose.errors import OutputError
from edgepose.evaluate import curves, plots, report
from edgepose.evaluate.estimates import estimate
from edgepose.evaluate.oks import oks_ap
from edgepose.files import STDOUT, check_writable, same_file, write_output
from edgepose.people.detector import PersonDetector, whole_frame

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.evaluate.estimates import Estimates

FORMAT = 1


@dataclass(frozen=True)
class Options:
    """What the user asked for; see ``edgepose-eval --help``. ``split`` None is every line."""

    data: Sequence[Path]
    split: str | None
    boxes: str
    limit: int | None
    json: Path | None
    predictions: Path | None
    reliability: Path | None
    bundle: Path | None
    backend: str
    threads: int | None
    curves: Path | None = None
    worst: Path | None = None
    peers: Mapping[str, Path] = field(default_factory=dict)
    oks: bool = False


def run(options: Options) -> None:
    """Measure every set, print its tables and write what was asked for. Raises EdgeposeError.

    Everything is opened and checked before the first person is measured, and files take their
    place at the very end: a run that fails or is broken off leaves older ones as they are.
    """
    from rich.console import Console

    from edgepose.api import load, load_detector
    from edgepose.bundle import Bundle

    named = (
        options.json,
        options.predictions,
        options.reliability,
        options.curves,
        options.worst,
    )
    outputs = [path for path in named if path is not None]
    console = Console(stderr=STDOUT in outputs, highlight=False)
    _check_outputs(options, outputs)
    with contextlib.ExitStack() as stack:
        whole = [path for path in options.data if holds_scenes(path)]
        persons = [path for path in options.data if path not in whole]
        samples = [numbered_records(path, options.split)[: options.limit] for path in persons]
        pictures = [stack.enter_context(Pictures(path)) for path in persons]
        scenes = [
            SceneSet(
                path,
                load_scenes(path, options.split)[: options.limit],
                stack.enter_context(Pictures(path)),
            )
            for path in whole
        ]
        bundle = Bundle(options.bundle)
        cascade = load(bundle, options.backend, options.threads)
        detector: PersonDetector | None = None
        if options.boxes == "detect":
            detector = load_detector(bundle, options.backend, options.threads)
        elif options.boxes == "full":
            detector = whole_frame
        console.print(f"[bold]{cascade.description}[/]", soft_wrap=True)
        sets: list[dict[str, Any]] = []
        lines: list[bytes] = []
        drawn: dict[str, Estimates] = {}
        worst: list[tuple[Estimates, Pictures]] = []
        for path, chosen, opened in zip(persons, samples, pictures, strict=True):
            with progress(path.name, len(chosen)) as advance:
                estimates = estimate(chosen, opened, cascade, detector, advance)
            sets.append(_report(console, options, path, estimates))
            if options.reliability is not None or options.curves is not None:
                drawn[path.stem if path.stem not in drawn else str(path)] = estimates
            if options.worst is not None:
                worst.append((estimates, opened))
            if options.predictions is not None:
                several = len(options.data) > 1
                lines += report.prediction_lines(estimates, str(path) if several else None)
        if scenes:
            found = load_detector(bundle, options.backend, options.threads)
            for chosen_scenes in scenes:
                with progress(chosen_scenes.path.name, len(chosen_scenes.scenes)) as advance:
                    sets.append(measure(console, chosen_scenes, found, advance))
        gallery = worst_sheet(worst) if options.worst is not None else b""
    if options.json is not None:
        everything = {
            "edgepose": FORMAT,
            "bundle": bundle.name,
            "backend": cascade.backend,
            "skeleton": bundle.skeleton.name,
            "sets": sets,
        }
        write_output(options.json, msgspec.json.format(msgspec.json.encode(everything)) + b"\n")
    if options.predictions is not None:
        write_output(options.predictions, b"".join(lines))
    if options.reliability is not None:
        write_output(options.reliability, plots.reliability(drawn, options.reliability.suffix))
    if options.curves is not None:
        write_output(options.curves, plots.curves(drawn, options.curves.suffix))
    if options.worst is not None:
        write_output(options.worst, gallery)
    for path in outputs:
        if path != STDOUT:
            console.print(f"wrote {path}", markup=False, soft_wrap=True)


def _report(console: Console, options: Options, path: Path, estimates: Estimates) -> dict[str, Any]:
    """Print a set's tables; gives the same as plain data."""
    stages = report.figures(estimates)
    pictures = len(set(estimates.images))
    which = "all lines" if options.split is None else f"split {options.split}"
    boxes = {"detect": "the detector's boxes", "full": "full pictures", "truth": "true boxes"}
    console.print(
        f"\n{path}: {_count(len(estimates), 'person')} in {_count(pictures, 'picture')}, {which}, "
        f"{boxes[options.boxes]}",
        markup=False,
        soft_wrap=True,
    )
    facts: dict[str, Any] = {"data": str(path), "split": options.split, "limit": options.limit}
    facts["boxes"] = options.boxes
    if options.boxes == "detect":
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
    compared = report.comparisons(estimates, options.peers)
    if compared:
        console.print()
        console.print(report.comparison_table(compared))
    facts |= {"comparisons": {name: [asdict(c) for c in row] for name, row in compared.items()}}
    if options.oks:
        facts["oks"] = oks_ap(estimates)
        said = ", ".join(f"{name} {value:.1f}" for name, value in facts["oks"].items())
        area = "of the true box" if np.isnan(estimates.areas).any() else "as annotated"
        console.print(f"\nOKS, area {area}: {said}", soft_wrap=True)
        facts["oks"] = {n: None if v != v else round(v, 2) for n, v in facts["oks"].items()}
    facts["curves"] = curves.as_json(estimates)
    return facts | report.as_json(estimates, stages)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _check_outputs(options: Options, outputs: Sequence[Path]) -> None:
    for first, second in itertools.combinations(outputs, 2):
        if same_file(first, second):
            raise OutputError(f"two outputs both name '{first}'; give two paths.")
    for picture in (options.reliability, options.curves):
        if picture is not None:
            plots.check_format(picture)
    drawn = (options.predictions, options.reliability, options.curves, options.worst)
    if any(drawn) and all(map(holds_scenes, options.data)):
        raise OutputError(
            "whole scenes have no joints to write or draw; give annotated persons too, or leave "
            "--predictions, --reliability, --curves and --worst out."
        )
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
