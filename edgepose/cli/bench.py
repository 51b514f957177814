"""``edgepose-bench``: how fast edgepose is on this machine, and which options suit it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common


def command(
    bundle: Annotated[
        Path | None, typer.Option(help="The model's folder; default: the one that ships.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Measure this one alone; may be given several times. Default: all."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures; **-** is stdout.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with plots, one file.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Write the advice, for **edgepose-run --config**."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Figures that **--json** wrote, here or elsewhere."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="mediapipe|FILE.onnx",
            help="Time another pose estimator too: MediaPipe, or a network such as MoveNet's.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the time, for a first look.")
    ] = False,
) -> None:
    """Measure this machine: crop kernel, cascade, detector, the whole program.

    Per backend that is there, for 1, 4 and 16 persons and 1, 2 and 4 threads, on the clip that
    ships; two minutes or less. Ends with the options that suit the machine. Let nothing else run
    meanwhile.
    """
    from edgepose.cli._benching import Outputs, run

    run(bundle, backend, Outputs(json, html, config), compare, peer or [], quick=quick)


def main() -> None:
    """Run ``edgepose-bench``."""
    _common.run("edgepose-bench", command)


if __name__ == "__main__":
    main()
