"""What ``edgepose-build`` shows, and a runner that builds engines on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from edgepose.bundle import NetworkSpec
from edgepose.engine.build import BuiltEngine
from edgepose.engine.cache import Cache
from edgepose.engine.manifest import Drift
from edgepose.engine.progress import BuildProgress
from edgepose.engine.recipe import written
from edgepose.errors import EngineError


class Live:
    """Shows builds as they go on, on a terminal as a bar with elapsed and estimated time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[times]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = None

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def waiting(self, folder: Path) -> None:
        """Another process builds in that folder."""
        say(self._console, f"Another build is using {folder}; waiting for it to end.")

    def note(self, sentence: str) -> None:
        """Why an engine that is there cannot be used."""
        say(self._console, sentence)

    def building(self, network: NetworkSpec, tracker: BuildProgress) -> None:
        """Move the bar."""
        left = tracker.remaining
        times = f"{tracker.elapsed:.0f} s, " + (f"about {left:.0f} s left" if left else "…")
        if self._task is None:
            if not self._console.is_terminal:
                say(self._console, f"building {network.name} …")
            self._task = self._progress.add_task(f"building {network.name}", total=1.0, times=times)
        self._progress.update(self._task, completed=tracker.fraction, times=times)

    def built(self, network: NetworkSpec) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def say(console: Console, text: str) -> None:
    """Print ``text`` as it is, however long."""
    console.print(text, soft_wrap=True, markup=False)


def summary(made: Sequence[BuiltEngine]) -> Table:
    """A row per engine."""
    table = Table("network", "precision", "persons", box=None, header_style="dim")
    for heading in ("MB", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for engine in made:
        manifest, identity = engine.manifest, engine.manifest.identity
        table.add_row(
            engine.network.name,
            identity.precision,
            written(identity.batch) if identity.batch else "fixed",
            f"{manifest.bytes / 1e6:.1f}",
            f"{manifest.seconds:.1f}",
            "built" if engine.fresh else f"there since {manifest.built[:10]}",
        )
    return table


def drifts(made: Sequence[BuiltEngine], whole: Drift | None) -> Table:
    """How far each engine, and all together, are from the reference."""
    table = Table("drift", box=None, header_style="dim")
    for heading in ("of the crop's side", "pixels at 220", "score"):
        table.add_column(heading, justify="right")
    rows = [(e.network.name, e.manifest.drift) for e in made] + [("end to end", whole)]
    for name, drift in rows:
        if drift is not None:
            table.add_row(name, f"{drift.points:.2g}", f"{drift.pixels:.3f}", f"{drift.scores:.2g}")
    return table


def list_engines(console: Console, cache: Cache) -> None:
    """Every engine of the folder and whether its plan is whole."""
    found = cache.manifests()
    if not found:
        say(console, f"no engines in {cache.folder}")
        return
    for path, manifest in found:
        if isinstance(manifest, EngineError):
            say(console, f"{path.stem}: its manifest is damaged")
            continue
        identity = manifest.identity
        facts = [
            manifest.bundle,
            f"{identity.flavour} {identity.version}",
            " ".join(identity.targets),
            identity.precision,
            f"{written(identity.batch)} persons" if identity.batch else "fixed shape",
            f"{manifest.bytes / 1e6:.1f} MB",
        ]
        if not cache.whole(manifest):
            facts.append("its plan is damaged")
        say(console, f"{path.stem}: {', '.join(facts)}")
