"""What ``edgepose-bench`` does: measure, print, write."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgepose.bench import report, results
from edgepose.bench.advice import advise, run_toml
from edgepose.bench.machine import machine
from edgepose.bench.measure import Effort, measure
from edgepose.bench.peers import peer as time_peer
from edgepose.bundle import Bundle
from edgepose.errors import EdgeposeError
from edgepose.files import STDOUT, check_writable, write_output
from edgepose.nv12 import as_bgr
from edgepose.sources.open import open_source
from edgepose.version import __version__


@dataclass(frozen=True)
class Outputs:
    """Files to write; None is none."""

    json: Path | None = None
    html: Path | None = None
    config: Path | None = None


def run(
    folder: Path | None,
    backends: list[str] | None,
    outputs: Outputs,
    compare: Path | None,
    peers: list[str],
    *,
    quick: bool,
) -> None:
    """Measure and tell. Raises an EdgeposeError for what the user can mend."""
    for path in (outputs.json, outputs.html, outputs.config):
        if path is not None:
            check_writable(path)
    before = results.read(compare) if compare else None
    effort = Effort(0.05, 3, 30) if quick else Effort()
    bundle, about, began = Bundle(folder), machine(), time.perf_counter()
    found = measure(bundle, backends, effort, _tell)
    for name in peers:
        _tell(f"peer {name}")
        with open_source("sample") as source:
            frame = as_bgr(next(iter(source)).image)
        try:
            found.rows.append(time_peer(name, 1, frame, effort))
        except EdgeposeError as error:
            found.skipped[name] = str(error)
    advice = advise(found.rows, found.runs)
    taken = results.Results(
        results.FORMAT,
        __version__,
        bundle.name,
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        about,
        found.rows,
        found.runs,
        found.skipped,
        round(time.perf_counter() - began, 1),
        advice,
    )
    toml = run_toml(advice)
    if outputs.json != STDOUT:
        _print(taken, toml, before)
    if outputs.json is not None:
        results.write(outputs.json, taken)
    if outputs.html is not None:
        write_output(outputs.html, report.page(taken, toml, before).encode())
    if outputs.config is not None:
        write_output(outputs.config, toml.encode())


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what} …", end="", file=sys.stderr, flush=True)  # noqa: T201


def _print(taken: results.Results, toml: str, before: results.Results | None) -> None:
    from rich.console import Console
    from rich.table import Table

    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)  # noqa: T201
    console = Console()
    table = Table(box=None, pad_edge=False)
    head = report.HEAD if before else report.HEAD[:-1]
    for name in head:
        table.add_column(name, justify="right" if name in ("threads", "median") else "left")
    for row in report.lines(taken, before):
        table.add_row(*row[: len(head)])
    console.print(f"edgepose {taken.version}, {taken.bundle}, {taken.machine['processor']}")
    console.print(table)
    for name, why in taken.skipped.items():
        console.print(f"not measured: {name} ({why})", markup=False)
    console.print(f"\n{toml}", markup=False, highlight=False)
    console.print(f"{taken.seconds:.0f} s", highlight=False)
