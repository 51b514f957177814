"""``edgepose-build``: TensorRT engines of a bundle."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common, _options

_WHAT = "What is built"
_WHERE = "Where engines lie"
_LOOK = "Look, check, tidy"


class FlavourChoice(str, Enum):
    """Which TensorRT."""

    auto = "auto"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


class PrecisionChoice(str, Enum):
    """Arithmetic of the networks."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"


def command(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help=_options.BUNDLE),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="**host** for the GPU of this machine, or compute capabilities such as "
            "**sm86,sm120** (tensorrt-rtx, needs no GPU).",
            rich_help_panel=_WHAT,
        ),
    ] = "host",
    flavour: Annotated[
        FlavourChoice,
        typer.Option(
            help="Which TensorRT builds; **auto**: the one that is installed.",
            rich_help_panel=_WHAT,
        ),
    ] = FlavourChoice.auto,
    precision: Annotated[
        PrecisionChoice | None,
        typer.Option(help="Default: the recipe's, fp16.", rich_help_panel=_WHAT),
    ] = None,
    batch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NETWORK=]SIZES",
            help="Persons that a call may have, each tuned for by itself, for all stages or, as in "
            "**stage2=1:2:4**, for one; may be given several times. Default: the recipe's, "
            "1:2:4:8.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        _options.recipe("An engine recipe, such as **engines/default.toml**.", _WHAT),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="MIB", help="Scratch memory of a layer.", rich_help_panel=_WHAT
        ),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Build also what is there.", rich_help_panel=_WHAT),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the engines; default: **engines/** in a checkout, otherwise "
            "~/.cache/edgepose/engines.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Measure the drift from the reference; refuse engines beyond the recipe's limits. "
            "Without a GPU their networks are measured, not the engines.",
            rich_help_panel=_LOOK,
        ),
    ] = False,
    no_build: Annotated[
        bool,
        _options.no_build("Only see whether the engines are there and whole.", _LOOK),
    ] = False,
    list_: Annotated[
        bool,
        typer.Option("--list", help="List the engines in the folder.", rich_help_panel=_LOOK),
    ] = False,
    inspect: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="Print what the engine of **stage1**, … consists of, as JSON.",
            rich_help_panel=_LOOK,
        ),
    ] = None,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Remove all engines in the folder.", rich_help_panel=_LOOK),
    ] = False,
) -> None:
    """Compile a bundle's networks to TensorRT engines.

    What is there already is not built again. Ctrl-C or a full disk leaves no half file; of two
    builds at once the second waits. Exit codes: 0 done, 2 something you can mend, 130 interrupted.
    """
    from edgepose.cli._building import Options, run

    run(
        Options(
            bundle=bundle,
            target=target,
            flavour=flavour.value,
            precision=precision.value if precision is not None else None,
            batch=tuple(batch or ()),
            recipe=recipe,
            workspace=workspace,
            rebuild=rebuild,
            out=out,
            verify=verify,
            no_build=no_build,
            list=list_,
            inspect=inspect,
            clean=clean,
        )
    )


def main() -> None:
    """Run ``edgepose-build``."""
    _common.run("edgepose-build", command)


if __name__ == "__main__":
    main()
