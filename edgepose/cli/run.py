"""``edgepose-run``: a skeleton on every person of a camera or a video."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli import _common
from edgepose.output.open import KINDS

if TYPE_CHECKING:
    from edgepose.runner.policy import DropPolicy

_WHERE = "Where frames come from"
_OUT = "Where results go"
_HOW = "How persons are found"


def follow(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="A video, a picture, a folder of pictures, a URL (rtsp, http), or **sample** "
            "for the clip that ships with edgepose. May be given several times: all sources share "
            "one cascade.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    camera: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="A camera by its number, from 0; may be given several times.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many frames of a source.", rich_help_panel=_WHERE),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="latest|all|max-age=MS",
            help="What becomes of a live source's frames while there is no time for them: only the "
            "newest counts, all are kept and the source waits, or those older than so many "
            "milliseconds are left out. Files keep every frame.",
            rich_help_panel=_WHERE,
        ),
    ] = "latest",
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
            min=1,
            help="Threads of a network; default: the stages share the cores.",
            rich_help_panel=_HOW,
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
        sources=_sources(source or [], camera or []),
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
        policy=_policy(policy),
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


def _sources(sources: list[str], cameras: list[int]) -> list[str | int]:
    from edgepose.errors import SourceError

    if not sources and not cameras:
        raise SourceError(
            "Neither --source nor --camera was given; give one of them, such as --source sample."
        )
    return [*sources, *cameras]


def _policy(text: str) -> DropPolicy:
    from edgepose.errors import SourceError
    from edgepose.runner.policy import parse_policy

    try:
        return parse_policy(text)
    except ValueError as error:
        raise SourceError(f"--policy: {error}") from None


def main() -> None:
    """Run ``edgepose-run``."""
    _common.run("edgepose-run", command)


if __name__ == "__main__":
    main()
