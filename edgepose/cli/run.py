"""``edgepose-run``: a skeleton on every person of a camera or a video."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli import _common, _config, _options
from edgepose.cli import _log as _logging

if TYPE_CHECKING:
    from edgepose.runner.policy import DropPolicy
    from edgepose.sources.source import SourceOptions

_WHERE = "Where frames come from"
_OUT = "Where results go"
_HOW = "How persons are found"
_FILE = "How the program is run"


class _Log(str, enum.Enum):
    text = "text"
    json = "json"


class Boxes(str, enum.Enum):
    """Where the persons' boxes come from."""

    detect = "detect"
    full = "full"


def follow(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="A video, a picture, a folder or glob of pictures, a camera (**0**, "
            "**/dev/video0**, **csi://0**), a URL (rtsp, http, tcp), **gst:** and a GStreamer "
            "pipeline, **screen**, **test** for a figure that is made up, or **sample** for the "
            "clip that ships. May be given several times: all sources share one cascade.",
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
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Ask cameras for this size; scale the rest.", rich_help_panel=_WHERE
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Ask cameras for this rate; thin out the rest by time.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    rotate: Annotated[
        int,
        typer.Option(metavar="90|180|270", help="Turn frames clockwise.", rich_help_panel=_WHERE),
    ] = 0,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin files again.", rich_help_panel=_WHERE)
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Play files at their own speed, as a camera.", rich_help_panel=_WHERE
        ),
    ] = False,
    list_cameras: Annotated[
        bool,
        typer.Option("--list-cameras", help="List the cameras and exit.", rich_help_panel=_WHERE),
    ] = False,
    explain_source: Annotated[
        bool,
        typer.Option(
            "--explain-source",
            help="Say how the sources would be read, such as by which pipeline, and exit.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
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
    give_up: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Give up a live source that is lost after so long without a frame; default: it is "
            "tried for ever.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    bundle: Annotated[Path | None, _options.bundle(_HOW)] = None,
    backend: Annotated[str, _options.backend(_HOW)] = "auto",
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
        _options.recipe("With **--backend tensorrt**: how engines are built.", _HOW),
    ] = None,
    no_build: Annotated[
        bool,
        _options.no_build("With **--backend tensorrt**: stop if an engine is missing.", _HOW),
    ] = False,
    boxes: Annotated[
        Boxes,
        typer.Option(
            help="Let the detector find persons, or take the full picture as one's box.",
            rich_help_panel=_HOW,
        ),
    ] = Boxes.detect,
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
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=_config.load,
            metavar="FILE.toml",
            help="Read options from a file: `max-persons = 3`. Those given here win.",
            rich_help_panel=_FILE,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print the options that would be used as such a file, and exit.",
            rich_help_panel=_FILE,
        ),
    ] = False,
    log: Annotated[
        _Log,
        typer.Option(
            help="What is said on stderr: sentences, or one JSON object a line.",
            rich_help_panel=_FILE,
        ),
    ] = _Log.text,
    **outputs: Any,
) -> None:
    """Follow the persons in a camera or a video and put a skeleton on each.

    Prints what it runs on and, at the end, how long every stage took. Ctrl-C and SIGTERM end
    cleanly: what has been written is complete. Exit codes: 0 done, 2 something you can mend (also:
    an output lost results), 130 interrupted; a second Ctrl-C breaks off.
    """
    if print_config:
        typer.echo(_config.effective(context), nl=False)
        return
    if list_cameras:
        _list_cameras()
        return
    wanted = _wanted(size, fps, rotate, loop, live)
    sources = _sources(source or [], camera or [])
    if explain_source:
        from edgepose.sources import open as opening

        for spec in sources:
            typer.echo(opening.explain_source(spec, wanted))
        return
    _logging.start(context.command_path, structured=log is _Log.json)
    from edgepose.cli._session import Options, run

    chosen = Options(
        sources=sources,
        wanted=wanted,
        structured=log is _Log.json,
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
        give_up=give_up,
        full=boxes is Boxes.full,
    )
    if run(chosen):
        raise typer.Exit(_common.INTERRUPTED)


command = _options.with_outputs(follow, _OUT)


def _sources(sources: list[str], cameras: list[int]) -> list[str | int]:
    from edgepose.errors import SourceError

    if not sources and not cameras:
        raise SourceError(
            "Neither --source nor --camera was given; give one of them, such as --source sample."
        )
    return [*sources, *cameras]


def _wanted(
    size: str | None, fps: float | None, rotate: int, loop: bool, live: bool
) -> SourceOptions:
    from edgepose.sources.source import SourceOptions, parse_size

    asked = None if size is None else parse_size(size)
    return SourceOptions(asked, fps, rotate, loop, live)


def _list_cameras() -> None:
    from edgepose.sources.cameras import list_cameras

    cameras = list_cameras()
    for camera in cameras:
        typer.echo(
            f"{camera.source}  {camera.name}" + f"  ({camera.problem})" * bool(camera.problem)
        )
    if not cameras:
        typer.echo("There is no camera; connect one, or try --source test.")


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
