"""``edgepose-eval`` on whole scenes: the person detector's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepose.data.records import Pictures
from edgepose.data.scenes import Scene
from edgepose.evaluate import detection

if TYPE_CHECKING:
    from rich.console import Console

    from edgepose.people.detector import Detector
    from edgepose.people.device_detector import DeviceDetector


@dataclass(frozen=True)
class SceneSet:
    """A file of scenes, read, with its open pictures."""

    path: Path
    scenes: Sequence[Scene]
    pictures: Pictures


def measure(
    console: Console,
    chosen: SceneSet,
    detector: Detector | DeviceDetector,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Run the detector on every scene and print its figures; gives them as plain data."""
    matches = []
    for scene in chosen.scenes:
        picture = chosen.pictures.decode(scene.image)
        matches.append(detection.match(detector(picture), scene.persons, scene.unsure))
        advance(1)
    score = detector.threshold
    found = detection.figures(matches, score)
    people, empty = sum(len(m.scores) for m in matches), sum(len(m.scores) == 0 for m in matches)
    console.print(
        f"\n{chosen.path}: {len(matches)} scenes with {people} persons, {empty} of them without; "
        f"boxes from a score of {score:g}",
        markup=False,
        soft_wrap=True,
    )
    facts: dict[str, Any] = {"data": str(chosen.path), "scenes": len(matches), "persons": people}
    ends = detection.intervals(matches, score)
    for name, value, interval in zip(_names(), found.values, ends, strict=True):
        if np.isnan(value):
            continue
        scale = 100 if name.endswith("%") else 1
        value, low, high = (round(scale * v, 2) for v in (value, *interval.tolist()))
        facts[name] = [value, low, high]
        console.print(f"{name:36} {value:5.1f}  [{low:.1f}, {high:.1f}]", markup=False)
    return facts


def _names() -> list[str]:
    """What the figures are called, in the order of ``Detection.values``."""
    sizes = [f"{low} to {high} px" for low, high in detection.SIZES[:-1]]
    return [
        "recall, %",
        *(f"recall, {size}, %" for size in (*sizes, f"{detection.SIZES[-1][0]} px and more")),
        "recall of boxes drawn by people, %",
        "precision where there are persons, %",
        "false persons on 100 scenes without",
    ]
