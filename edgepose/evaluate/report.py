"""What an evaluation tells: figures per stage, as tables, as JSON and as prediction lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.evaluate.compare import Comparison, compare, read_predictions
from edgepose.evaluate.estimates import Estimates
from edgepose.evaluate.metrics import Rates, calibration_error, hits, pck, pcp

if TYPE_CHECKING:
    from rich.table import Table

RECALL_IOU = 0.5
THRESHOLDS = (0.1, 0.2)  # at which estimates are compared


@dataclass(frozen=True)
class Figures:
    """One stage's figures.

    ``pck01`` and ``pck02``: joints within 0.1 and 0.2 torso sizes. ``pcp05``: limbs within half
    their length. ``calibration_error``: of the scores against the hits that ``pck02`` counts, over
    the joints of persons that were found. ``scores`` (k,): mean score of these joints.
    """

    pck01: Rates
    pck02: Rates
    pcp05: Rates
    calibration_error: float
    scores: NDArray[np.float64]


def figures(estimates: Estimates) -> list[Figures]:
    """Figures of every stage, first to last; a missed person is wrong in all joints."""
    truth, labelled, skeleton = estimates.truth, estimates.labelled, estimates.skeleton
    result = []
    for joints, scores in zip(estimates.stages, estimates.scores, strict=True):
        counted, right = hits(joints, truth, labelled, skeleton, 0.2)
        counted &= estimates.found[:, None]
        total = np.where(counted, scores, 0).sum(0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            mean = np.asarray(total / counted.sum(0), np.float64)
        result.append(
            Figures(
                pck(joints, truth, labelled, skeleton, 0.1),
                pck(joints, truth, labelled, skeleton, 0.2),
                pcp(joints, truth, labelled, skeleton, 0.5),
                calibration_error(scores[counted], right[counted]),
                mean,
            )
        )
    return result


def recall(estimates: Estimates) -> float:
    """Share of persons whose box overlaps the true one by an IoU of at least 0.5."""
    return float((estimates.overlap >= RECALL_IOU).mean())


def summary_table(stages: Sequence[Figures]) -> Table:
    """One row per stage: PCK, PCP and calibration error."""
    table = _table("", "PCK@0.1", "PCK@0.2", "PCP@0.5", "calibration error")
    for number, f in enumerate(stages, 1):
        error = "-" if np.isnan(f.calibration_error) else f"{f.calibration_error:.3f}"
        means = (_percent(rates.mean) for rates in (f.pck01, f.pck02, f.pcp05))
        table.add_row(f"stage {number}", *means, error)
    return table


def joint_table(stages: Sequence[Figures]) -> Table:
    """One row per joint: PCK@0.1 and PCK@0.2 of every stage, the last stage's mean score."""
    headings = (f"stage {n}\n@0.1 @0.2" for n in range(1, len(stages) + 1))
    table = _table("PCK\n", "labelled\n", *headings, "last stage's\nmean score")
    last = stages[-1]
    for i, name in enumerate(last.pck02.names):
        pairs = (_pair(f.pck01.rates[i], f.pck02.rates[i]) for f in stages)
        score = "-" if np.isnan(last.scores[i]) else f"{last.scores[i]:.2f}"
        table.add_row(name.replace("_", " "), str(last.pck02.counted[i]), *pairs, score)
    means = (_pair(f.pck01.mean, f.pck02.mean) for f in stages)
    table.add_row(f"mean of {len(last.pck02.averaged)} limb joints", "", *means, "", style="bold")
    return table


def limb_table(stages: Sequence[Figures]) -> Table:
    """One row per limb: PCP@0.5 of every stage."""
    table = _table("PCP@0.5", "labelled", *(f"stage {n}" for n in range(1, len(stages) + 1)))
    last = stages[-1].pcp05
    for i, name in enumerate(last.names):
        rates = (_percent(f.pcp05.rates[i]) for f in stages)
        table.add_row(name.replace("_", " "), str(last.counted[i]), *rates)
    table.add_row("mean", "", *(_percent(f.pcp05.mean) for f in stages), style="bold")
    return table


def comparison_table(rows: Mapping[str, Sequence[Comparison]]) -> Table:
    """One row per comparison, by name: both rates at 0.1 and 0.2, difference and verdict."""
    headings = (f"PCK@{t}\nfirst second  difference (95 %)" for t in THRESHOLDS)
    table = _table("second against first", *headings, "at 0.2 the second is")
    for name, each in rows.items():
        cells = (
            f"{c.first:.1f} {c.second:6.1f}  {c.second - c.first:+.1f} "
            f"({c.low:+.1f}, {c.high:+.1f})"
            for c in each
        )
        table.add_row(name, *cells, each[-1].verdict)
    return table


def comparisons(estimates: Estimates, peers: Mapping[str, Path]) -> dict[str, list[Comparison]]:
    """Each stage against the one before it, and the last stage against each peer's predictions."""
    pairs = {
        f"stage {s + 1} : stage {s}": (estimates.stages[s - 1], estimates.stages[s])
        for s in range(1, len(estimates.stages))
    }
    pairs |= {
        f"this bundle : {name}": (read_predictions(path, estimates), estimates.stages[-1])
        for name, path in peers.items()
    }
    return {
        name: [compare(estimates, a, b, t) for t in THRESHOLDS] for name, (a, b) in pairs.items()
    }


def as_json(estimates: Estimates, stages: Sequence[Figures]) -> dict[str, Any]:
    """The figures as plain data: percent, but calibration errors and scores in [0, 1].

    What was never counted is None.
    """
    return {
        "persons": len(estimates),
        "pictures": len(set(estimates.images)),
        "stages": [
            {
                "stage": number,
                "pck@0.1": _rates(f.pck01),
                "pck@0.2": _rates(f.pck02),
                "pcp@0.5": _rates(f.pcp05),
                "calibration_error": _number(f.calibration_error, 4),
                "mean_score": {
                    name: _number(score, 4)
                    for name, score in zip(f.pck02.names, f.scores.tolist(), strict=True)
                },
            }
            for number, f in enumerate(stages, 1)
        ],
    }


def prediction_lines(estimates: Estimates, data: str | None = None) -> Iterator[bytes]:
    """JSON lines, per person one for each stage and one for "final", which repeats the last stage.

    ``{"image", "index", "stage", "joints": [[x, y, score], …]}``: pixels to 1/100, scores to
    1/1000, joints in the bundle's order; a missed person has no joints. ``data`` is added as the
    first key if given.
    """
    encode = msgspec.json.Encoder().encode
    head = {} if data is None else {"data": data}
    steps = [*range(1, len(estimates.stages) + 1), "final"]
    places = [*range(len(estimates.stages)), -1]
    found = estimates.found
    for i, (index, image) in enumerate(zip(estimates.index, estimates.images, strict=True)):
        for step, place in zip(steps, places, strict=True):
            joints = np.empty((len(estimates.skeleton), 3))
            joints[:, :2] = estimates.stages[place][i].astype(np.float64).round(2)
            joints[:, 2] = estimates.scores[place][i].astype(np.float64).round(3)
            listed = joints.tolist() if found[i] else []
            yield encode(head | {"image": image, "index": index, "stage": step, "joints": listed})
            yield b"\n"


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


def _percent(rate: float) -> str:
    return "-" if np.isnan(rate) else f"{100 * rate:.1f}"


def _pair(first: float, second: float) -> str:
    return f"{_percent(first)} {_percent(second):>4}"


def _rates(rates: Rates) -> dict[str, Any]:
    return {
        "mean": _number(100 * rates.mean, 2),
        "each": {
            name: {"rate": _number(100 * rate, 2), "counted": counted}
            for name, rate, counted in zip(
                rates.names, rates.rates.tolist(), rates.counted.tolist(), strict=True
            )
        },
    }


def _number(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(value, digits)
