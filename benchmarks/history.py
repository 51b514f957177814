"""Keep a run of the benchmarks, and draw all that are kept.

    pytest benchmarks --benchmark-json=build/benchmark.json
    python benchmarks/history.py build/benchmark.json [--results benchmarks/results]

Adds one line to ``history-MACHINE.jsonl``: date, commit, version, and the median of every benchmark
in milliseconds. ``history-MACHINE.svg`` shows each over time, against its first run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from edgepose.bench.machine import processor
from edgepose.version import __version__

ROOT = Path(__file__).parents[1]


def entry(run: dict[str, Any]) -> dict[str, Any]:
    """One line of the history, from what pytest-benchmark wrote."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    medians = {
        one["fullname"].removeprefix("benchmarks/"): round(1e3 * one["stats"]["median"], 4)
        for one in run["benchmarks"]
    }
    return {"date": run["datetime"][:19], "commit": commit, "version": __version__, "ms": medians}


def add(path: Path, line: dict[str, Any]) -> list[dict[str, Any]]:
    """Append to the history, a commit's earlier run replaced; gives all of it."""
    kept = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    kept = [one for one in kept if one["commit"] != line["commit"] or not line["commit"]]
    kept.append(line)
    path.write_text("".join(json.dumps(one) + "\n" for one in kept))
    return kept


def draw(history: list[dict[str, Any]], path: Path, machine: str) -> None:
    """A line for every benchmark: its median over that of its first run, below 1 is faster."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    names = sorted({name for one in history for name in one["ms"]})
    for name in names:
        points = [(n, one["ms"][name]) for n, one in enumerate(history) if name in one["ms"]]
        places, values = zip(*points, strict=True)
        axes.plot(places, [v / values[0] for v in values], marker="o", markersize=3, label=name)
    labels = [f"{one['commit']}\n{one['date'][:10]}" for one in history]
    axes.set_xticks(range(len(history)), labels, fontsize="x-small")
    axes.set(title=f"Benchmarks on {machine}", ylabel="median, of the first run")
    axes.grid(alpha=0.25)
    if len(names) <= 24:
        axes.legend(fontsize="xx-small", frameon=False, ncols=2)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    given.results.mkdir(exist_ok=True)
    machine = processor()
    name = re.sub(r"\W+", "-", machine.lower()).strip("-")
    path = given.results / f"history-{name}.jsonl"
    history = add(path, entry(json.loads(given.run.read_text())))
    draw(history, path.with_suffix(".svg"), machine)
    print(f"{path}: {len(history)} runs, {len(history[-1]['ms'])} benchmarks in the last")


if __name__ == "__main__":
    main()
