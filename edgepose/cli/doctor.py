"""``edgepose-doctor``: what this machine has for edgepose, and what to do about what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common, _options


def command(
    bundle: Annotated[Path | None, _options.bundle()] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, on one line.")
    ] = False,
) -> None:
    """Look at this machine: GPU, driver, TensorRT, cameras, OpenCV, the bundle, engines.

    Each thing that is missing comes with the next step. Exit codes: 0 edgepose can run here, 2 it
    cannot.
    """
    from edgepose.cli._examination import run

    run(bundle, as_json=json)


def main() -> None:
    """Run ``edgepose-doctor``."""
    _common.run("edgepose-doctor", command)


if __name__ == "__main__":
    main()
