"""``edgepose-export``: a bundle in the form that another server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common

app = _common.group("Write a bundle in the form that another server takes.")


def triton(
    out: Annotated[Path, typer.Option(help="Folder of the model repository; new or empty.")],
    bundle: Annotated[
        Path | None, typer.Option(help="The model's folder; default: the one that ships.")
    ] = None,
    plans: Annotated[
        Path | None,
        typer.Option(
            help="Serve the TensorRT plans of this folder, built by **edgepose-build --flavour "
            "tensorrt** on the server's GPU and with its version of TensorRT; default: ONNX."
        ),
    ] = None,
    persons: Annotated[
        int, typer.Option(min=1, max=1024, help="At most in one call of a stage.")
    ] = 16,
    delay: Annotated[
        int, typer.Option(min=0, metavar="US", help="How long crops wait for company, in µs.")
    ] = 1000,
    instances: Annotated[
        int, typer.Option(min=1, help="Frames under way at once; more join larger batches.")
    ] = 2,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server.

    The model **edgepose** takes a frame, and boxes if they are known, and gives joints; networks
    behind it are served with dynamic batching. edgepose must be installed for the server's Python.
    """
    from rich.console import Console

    from edgepose.bundle import Bundle
    from edgepose.export.triton import Serving, write_repository

    loaded = Bundle(bundle)
    models = write_repository(loaded, out, Serving(persons, delay, instances), plans)
    Console(highlight=False).print(
        f"wrote {out}: {loaded.name} as {', '.join(models)}", markup=False, soft_wrap=True
    )


app.command("triton")(_common.reporting("edgepose-export triton", triton))


def main() -> None:
    """Run ``edgepose-export``."""
    app(prog_name="edgepose-export")


if __name__ == "__main__":
    main()
