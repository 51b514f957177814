"""``edgepose-run``: a skeleton on every person of a camera or a video."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgepose.cli import _common
from edgepose.output.open import KINDS

_WHERE = "Where frames come from"
_OUT = "Where results go"
_HOW = "How persons are found"


def follow(
    source: Annotated[
        str | None,
        typer.Option(
            help="A video, a picture, a folder of pictures, a URL (rtsp, http), or **sample** "
            "for the clip that ships with edgepose.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option(min=0, help="A camera by its number, from 0.", rich_help_panel=_WHERE),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many frames.", rich_help_panel=_WHERE),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="The model's folder; default: the one that ships.", rich_help_panel=_HOW),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="What runs the networks.", rich_help_panel=_HOW)
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads of a network; default: all cores, up to 4.", rich_help_panel=_HOW
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="With **--backend tensorrt**: how engines are built.", rich_help_panel=_HOW
        ),
    ] = None,
    no_build: Annotated[
        bool,
        typer.Option(
            "--no-build",
            help="With **--backend tensorrt**: stop if an engine is missing.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    max_persons: Annotated[
        int, typer.Option(min=1, help="Follow at most so many persons.", rich_help_panel=_HOW)
    ] = 5,
    detect_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Look for persons in every Nth frame, and whenever one is lost; default: 20. With "
            "a folder: its pictures are the frames of one video.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    no_smooth: Annotated[
        bool,
        typer.Option(
            "--no-smooth", help="Give joints as estimated, not smoothed.", rich_help_panel=_HOW
        ),
    ] = False,
    **outputs: Any,
) -> None:
    """Follow the persons in a camera or a video and put a skeleton on each.

    Prints what it runs on and, at the end, how long every stage took. Ctrl-C ends cleanly: what has
    been written is complete. Exit codes: 0 done, 2 something you can mend, 130 interrupted.
    """
    from edgepose.cli._session import Options, run

    chosen = Options(
        source=_source(source, camera),
        outputs={option: text for option, text in outputs.items() if text},
        bundle=bundle,
        backend=backend,
        threads=threads,
        recipe=recipe,
        build=not no_build,
        max_persons=max_persons,
        detect_every=detect_every,
        max_frames=max_frames,
        smooth=not no_smooth,
    )
    if run(chosen):
        raise typer.Exit(_common.INTERRUPTED)


def with_outputs(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with an option for every row of the table of outputs in place of its keywords."""
    signature = inspect.signature(command, eval_str=True)
    fixed = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = []
    for name, kind in KINDS.items():
        flag = f"--{name}"
        what = typer.Option(flag, metavar=kind.metavar, help=kind.help, rich_help_panel=_OUT)
        hint = Annotated[bool, what] if kind.metavar is None else Annotated[str | None, what]
        default = False if kind.metavar is None else None
        options.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
            )
        )

    @functools.wraps(command)
    def extended(**given: Any) -> None:
        command(**given)

    whole = signature.replace(parameters=[*fixed, *options])
    extended.__signature__ = whole  # type: ignore[attr-defined]
    return extended


command = with_outputs(follow)


def _source(source: str | None, camera: int | None) -> str | int:
    from edgepose.errors import SourceError

    if source is not None and camera is not None:
        raise SourceError("Both --source and --camera were given; give one of them.")
    if source is None and camera is None:
        raise SourceError(
            "Neither --source nor --camera was given; give one of them, such as --source sample."
        )
    return camera if camera is not None else source or ""


def main() -> None:
    """Run ``edgepose-run``."""
    _common.run("edgepose-run", command)


if __name__ == "__main__":
    main()
