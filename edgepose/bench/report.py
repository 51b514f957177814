"""A benchmark as a table for the terminal and as one HTML file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from edgepose.bench.results import Results, Row, ratios

_COLOURS = ("#1f6fb2", "#d1762b", "#3a8f4d", "#8a4fae", "#b23b3b", "#5b6b7a")

_LABEL = 38  # characters that fit before a bar

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2733; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
p.note { color: #5b6b7a; margin: .2rem 0 .8rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #e3e8ee; }
td.n, th.n { text-align: right; }
pre { background: #f3f6f9; padding: .8rem 1rem; overflow-x: auto; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #1d2733; }
.faster { color: #2c7a3f; } .slower { color: #b23b3b; }
"""


def lines(results: Results, before: Results | None = None) -> list[tuple[str, ...]]:
    """The table's rows as text: what, how, threads, size, figure, spread, against ``before``."""
    against = ratios(results, before) if before else {}

    def ratio(key: tuple[str, str, int, int]) -> str:
        return f"{against[key]:.2f}" if key in against else ""

    found: list[tuple[str, ...]] = [
        (
            row.what,
            row.way,
            str(row.threads),
            _size(row),
            f"{row.milliseconds:.2f} ms",
            f"{row.low:.2f} to {row.high:.2f}",
            ratio(row.key),
        )
        for row in results.rows
    ]
    for run in results.runs:
        what = (
            "edgepose-run",
            run.way,
            str(run.threads),
            f"detector every {run.detect_every}",
            f"{run.fps:.1f} fps",
            f"{run.frames} frames",
            ratio(run.key),
        )
        found.append(what)
    return found


def _size(row: Row) -> str:
    if row.what == "crop":
        return f"{row.persons} boxes"
    return f"{row.persons} person{'s' if row.persons > 1 else ''}" if row.what == "cascade" else ""


HEAD = ("what", "how", "threads", "of", "median", "quartiles", "speed against the other")


def page(results: Results, toml: str, before: Results | None = None) -> str:
    """The HTML report; plots are SVG within it, and it asks for no other file."""
    cascade = [row for row in results.rows if row.what == "cascade"]
    threads = sorted({row.threads for row in cascade})
    parts = [
        f"<h1>edgepose {_(results.version)} on this machine</h1>",
        f"<p class=note>{_(results.machine.get('processor', ''))} · taken {_(results.taken)} in "
        f"{results.seconds:.0f} s · {_(results.bundle)}</p>",
        "<h2>What to use</h2>",
        f"<pre>{_(toml)}</pre>",
    ]
    for count in threads:
        parts += [
            f"<h2>The cascade, {_threads(count)} a network</h2>",
            "<p class=note>Milliseconds for a frame with 1, 4 and 16 persons; median, whiskers "
            "from the lower to the upper quartile. Shorter is better.</p>",
            _bars(
                [
                    (f"{row.way}, {_size(row)}", row.milliseconds, row.low, row.high, row.way)
                    for row in sorted(cascade, key=lambda r: (r.persons, r.way))
                    if row.threads == count
                ],
                "ms",
            ),
        ]
    for what, title, note in (
        ("detector", "The detector", "Milliseconds for a frame. Shorter is better."),
        ("crop", "The crop kernel", "Milliseconds for 14 crops of 64 pixels, one thread."),
        ("peer", "Peers", "Milliseconds for one person's network, as its users run it."),
    ):
        rows = [row for row in results.rows if row.what == what]
        if rows:
            parts += [
                f"<h2>{title}</h2><p class=note>{note}</p>",
                _bars([(_name(r), r.milliseconds, r.low, r.high, r.way) for r in rows], "ms"),
            ]
    parts += [
        "<h2>The whole program</h2>",
        "<p class=note><code>edgepose-run</code> on the shipped clip of 1080 × 1920 pixels with "
        "two persons, decoding included: frames per second. Longer is better.</p>",
        _bars(
            [
                (f"{_threads(r.threads)}, detector every {r.detect_every}", r.fps, r.fps, r.fps,
                 str(r.threads))
                for r in results.runs
            ],
            "fps",
        ),
        "<h2>All figures</h2>",
        _table(HEAD if before else HEAD[:-1], lines(results, before)),
        "<h2>The machine</h2>",
        _table(("", ""), [(k, v) for k, v in results.machine.items()]),
    ]  # fmt: skip
    if results.skipped:
        parts += ["<h2>Not here</h2>", _table(("", ""), list(results.skipped.items()))]
    if before:
        note = f"Compared with {before.machine.get('processor', '')}, taken {before.taken}."
        parts.insert(2, f"<p class=note>{_(note)}</p>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>edgepose-bench</title><style>{_STYLE}</style>'
        + "\n".join(parts)
        + "</html>\n"
    )


def _name(row: Row) -> str:
    return row.way if row.what == "crop" else f"{row.way}, {_threads(row.threads)}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _(text: str) -> str:
    return html.escape(str(text))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{_mark(v, n)}</td>" for n, v in enumerate(row[: len(head)]))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{body}</table>"


def _mark(text: str, column: int) -> str:
    """The seventh column is a ratio of speeds: green above 1, red below."""
    if column != 6 or not text:
        return _(text)
    ratio = float(text)
    kind = "faster" if ratio > 1.05 else "slower" if ratio < 0.95 else ""
    return f'<span class="{kind}">{_(text)}</span>'


def _bars(rows: Sequence[tuple[str, float, float, float, str]], unit: str) -> str:
    """Horizontal bars: label, value, whisker's ends, and what shares a colour."""
    groups = list(dict.fromkeys(row[4] for row in rows))
    most = max((max(row[1], row[3]) for row in rows), default=1.0) or 1.0
    left, width, step = 250, 520, 24
    drawn = []
    for number, (label, value, low, high, group) in enumerate(rows):
        y, label = number * step, label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
        colour = _COLOURS[groups.index(group) % len(_COLOURS)]
        length = width * value / most
        drawn.append(
            f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{_(label)}</text>'
            f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="16" fill="{colour}"/>'
        )
        if high > low:
            a, b = left + width * low / most, left + width * high / most
            drawn.append(
                f'<path d="M{a:.1f} {y + 12}H{b:.1f}M{a:.1f} {y + 8}v8M{b:.1f} {y + 8}v8" '
                'stroke="#1d2733" fill="none"/>'
            )
        end = left + width * max(value, high) / most + 6
        figure = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
        drawn.append(f'<text x="{end:.1f}" y="{y + 16}">{figure} {unit}</text>')
    return f'<svg viewBox="0 0 860 {len(rows) * step + 6}" role="img">{"".join(drawn)}</svg>'
