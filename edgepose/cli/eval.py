"""``edgepose-eval``: how right a bundle is on annotated pictures."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common, _options


class Boxes(str, Enum):
    """Where the persons' boxes come from."""

    truth = "truth"
    detect = "detect"
    full = "full"


def command(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...",
            help="Annotations (.jsonl), the pictures in a .tar or folder of the same name beside "
            "them.",
        ),
    ],
    split: Annotated[
        str, typer.Option(help="Which lines to take; **all** takes every one.")
    ] = "val",
    boxes: Annotated[
        Boxes,
        typer.Option(
            help="Take the annotated boxes, the detector's, or the full picture as the box."
        ),
    ] = Boxes.truth,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first so many persons of each DATA.")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            help="Write the figures as JSON, **-** for stdout. An existing file is replaced."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write every estimate as a JSON line, **-** for stdout. An existing file is "
            "replaced."
        ),
    ] = None,
    reliability: Annotated[
        Path | None,
        typer.Option(
            help="Draw how often joints of each score are right (.png, .svg, .pdf). An existing "
            "file is replaced."
        ),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Draw PDJ over the threshold, and the errors (.png, .svg, .pdf)."),
    ] = None,
    worst: Annotated[
        Path | None, typer.Option(help="Draw the 24 persons that are most wrong (.png).")
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Compare with somebody's predictions of the same lines; may be given again.",
        ),
    ] = None,
    oks: Annotated[
        bool, typer.Option("--oks", help="COCO's AP, for bundles of its 17 joints.")
    ] = False,
    bundle: Annotated[Path | None, _options.bundle()] = None,
    backend: Annotated[str, _options.backend()] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads for a network; default: all cores, at most 4."),
    ] = None,
) -> None:
    """Measure a bundle on annotated pictures: PCK, PCP and calibration of every stage.

    PCK@0.1 and PCK@0.2: percent of joints within 0.1 and 0.2 torso sizes of the truth, mean over
    the twelve limb joints; the torso is the larger labelled diagonal from shoulder to opposite hip.
    PCP@0.5: percent of limbs with both ends within half the limb's length. Calibration error: how
    far scores are from the rate of hits at 0.2 torso sizes, on average.

    With --boxes detect each person gets the detected box that overlaps the true one most; a person
    whom none overlaps counts as wrong in all joints and has no joints in the predictions.

    Every stage is compared with the one before it, and the last with each --peer: the difference
    with its 95 % interval (bootstrap over pictures). "Better" is said only where that is above 0.

    On whole scenes, lines with the boxes of all persons and no joints, the detector is measured:
    recall at an IoU of 0.5, in all and by the longer side of the person's box, and false persons on
    100 scenes without any, each with its 95 % interval over scenes.

    Files are written at the end, whole, or not at all.
    """
    from edgepose.cli._evaluation import Options, run

    run(
        Options(
            data=data,
            split=None if split == "all" else split,
            boxes=boxes.value,
            limit=limit,
            json=json,
            predictions=predictions,
            reliability=reliability,
            bundle=bundle,
            backend=backend,
            threads=threads,
            curves=curves,
            worst=worst,
            peers=_peers(peer or []),
            oks=oks,
        )
    )


def _peers(given: list[str]) -> dict[str, Path]:
    from edgepose.errors import DataError

    peers = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not (name and sign and path):
            raise DataError(f"--peer {text!r} is not NAME=FILE; such as --peer movenet=m.jsonl")
        peers[name] = Path(path)
    return peers


def main() -> None:
    """Run ``edgepose-eval``."""
    _common.run("edgepose-eval", command)


if __name__ == "__main__":
    main()
