"""Pictures of an evaluation, drawn by matplotlib (extra ``plots``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import OutputError
from edgepose.evaluate import curves as pdj
from edgepose.evaluate import metrics
from edgepose.evaluate.estimates import Estimates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
_LEAST = 10  # a bin of fewer joints says nothing


def check_format(path: Path) -> None:
    """Raise OutputError unless ``path`` ends in a picture format and matplotlib is installed."""
    if path.suffix.lstrip(".").lower() not in FORMATS:
        raise OutputError(f"cannot draw '{path}'; end its name in .{', .'.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(
            "matplotlib, which draws the plots, is not installed; install it with: "
            'pip install "edgepose[plots]"'
        ) from None


def reliability(sets: Mapping[str, Estimates], suffix: str) -> bytes:
    """Reliability diagram of the last stage's scores: a panel per joint, a line per set.

    Score against the share of joints within 0.2 torso diameters of the truth, in ten bins; the
    whiskers are one standard error, on the diagonal a score means what it says. ``suffix`` is one
    of ``FORMATS``, with its dot; gives the bytes of the file. Source: DeGroot & Fienberg 1983.
    """
    figure = _figure(11, 7.6)
    names = next(iter(sets.values())).skeleton.joints
    rows = -(-(len(names) + 1) // 5)
    panels = figure.subplots(rows, 5, sharex=True, sharey=True).ravel()
    for name, e in sets.items():
        known, right = metrics.hits(e.stages[-1], e.truth, e.labelled, e.skeleton, 0.2)
        known &= e.found[:, None]
        for i in range(len(names)):
            _line(panels[i], name, e.scores[-1][known[:, i], i], right[known[:, i], i])
        _line(panels[len(names)], name, e.scores[-1][known], right[known])
    for panel, title in zip(panels, (*names, "all joints"), strict=False):
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
        panel.set(xlim=(0, 1), ylim=(0, 1), title=title.replace("_", " "), aspect="equal")
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=7, loc="upper left", frameon=False)
    figure.supxlabel("score")
    figure.supylabel("share of joints within 0.2 torso diameters of the truth")
    return _bytes(figure, suffix)


def learning_curve(logs: Mapping[str, Sequence[Mapping[str, float]]], suffix: str) -> bytes:
    """PCK on the held-out persons over the minutes trained: one line per run and figure.

    ``logs``: name to the rows of a ``log.jsonl`` of training; rows without a PCK are left out.
    """
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    for run, rows in logs.items():
        held_out = [row for row in rows if any("pck" in key for key in row)]
        keys = [key for key in (held_out or [{}])[0] if "pck0.2" in key and "before" not in key]
        for key in keys:
            minutes = [row["minutes"] for row in held_out]
            axes.plot(minutes, [row[key] for row in held_out], ".-", label=f"{run} {key}")
    axes.set(xlabel="minutes of training", ylabel="percent of joints right")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return _bytes(figure, suffix)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # not pyplot: no window system, no global state

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def curves(sets: Mapping[str, Estimates], suffix: str) -> bytes:
    """PDJ over the threshold, and the distribution of errors: a line per set and stage.

    Arguments as for :func:`reliability`.
    """
    figure = _figure(9, 4)
    left, right = figure.subplots(1, 2)
    for name, e in sets.items():
        for stage in range(len(e.stages)):
            label = f"{name}, stage {stage + 1}"
            left.plot(pdj.THRESHOLDS, pdj.pdj_curve(e, stage), label=label)
            error = pdj.errors(e, stage)
            right.plot(error, np.linspace(0, 100, len(error)), label=label)
    left.set(title="PDJ", xlabel="threshold, torso diameters", ylabel="% of joints", ylim=(0, 100))
    right.set(title="error", xlabel="torso diameters, at most", xlim=(0, 2), ylim=(0, 100))
    left.legend(fontsize="small", frameon=False)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    return _bytes(figure, suffix)


def _line(panel: Any, name: str, scores: NDArray[Any], right: NDArray[np.bool_]) -> None:
    score, rate, count = metrics.reliability(scores, right)
    full = count >= _LEAST
    error = np.sqrt(rate[full] * (1 - rate[full]) / count[full])
    label = f"{name} ({metrics.calibration_error(scores, right):.3f})"
    style = {"fmt": ".-", "linewidth": 1, "markersize": 4, "clip_on": False}
    if full.any():
        panel.errorbar(score[full], rate[full], error, label=label, **style)


def _bytes(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix.lstrip(".").lower())
    return buffer.getvalue()
