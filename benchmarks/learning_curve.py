"""Held-out figures over training time, from the logs of one or several runs.

    python benchmarks/learning_curve.py curve.svg runs/a/stage1/log.jsonl runs/b/stage1/log.jsonl …
    python benchmarks/learning_curve.py curve.svg --joined 128.jsonl 160.jsonl 192.jsonl

A run that started from another's weights (``edgepose-train --init``) starts again at minute 0;
``--joined`` draws the logs as phases of one training, each behind the one before it, one panel per
figure that all of them have.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from edgepose.evaluate.plots import check_format, learning_curve

Rows = list[dict[str, Any]]
_FIGURES = {"pck0.1": "PCK@0.1", "pck0.2": "PCK@0.2", "pcp": "PCP@0.5"}


def joined(phases: dict[str, Rows], suffix: str) -> bytes:
    """All phases on one axis of minutes; each panel is one figure, each line one set."""
    held_out = [
        [row for row in rows if any("pck" in key for key in row)] for rows in phases.values()
    ]
    keys = set.intersection(*(set(row) for rows in held_out for row in rows))
    shown = [name for name in _FIGURES if any(key.endswith(f"_{name}") for key in keys)]
    sheet = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    panels = sheet.subplots(1, len(shown), squeeze=False)[0]
    for name, panel in zip(shown, panels, strict=True):
        for colour, key in enumerate(sorted(k for k in keys if k.endswith(f"_{name}"))):
            start = 0.0
            for rows in held_out:
                minutes = [start + row["minutes"] for row in rows]
                style = {"color": f"C{colour}", "label": key.split("_")[0] if not start else None}
                panel.plot(minutes, [row[key] for row in rows], ".-", **style)
                start = minutes[-1]
        start = 0.0
        for rows in held_out:
            panel.axvline(start, color="0.8", linewidth=0.8, zorder=0)
            place = panel.get_xaxis_transform()
            panel.text(start, 1.01, f" {rows[0]['size']}", transform=place, fontsize=6)
            start += rows[-1]["minutes"]
        panel.set(xlabel="minutes (above: pixels)", ylabel="percent")
        panel.set_title(_FIGURES[name], pad=14)
        panel.grid(alpha=0.25)
        panel.legend(fontsize=8, frameon=False, loc="lower right")
    buffer = io.BytesIO()
    sheet.savefig(buffer, format=suffix.lstrip(".").lower())
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--joined", action="store_true", help="phases of one training")
    options = parser.parse_args()
    check_format(options.out)
    rows = {
        str(path): [json.loads(line) for line in path.read_text().splitlines()]
        for path in options.logs
    }
    draw = joined if options.joined else learning_curve
    options.out.write_bytes(draw(rows, options.out.suffix))


if __name__ == "__main__":
    main()
