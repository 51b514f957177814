"""What all commands share: how they are run and how they report what went wrong."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edgepose.cli import _log
from edgepose.errors import EdgeposeError

if TYPE_CHECKING:
    import typer

USER_ERROR = 2
INTERRUPTED = 130


def reporting(program: str, command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with errors that the user can mend as one sentence on stderr and exit code 2.

    Ctrl-C becomes exit code 130. The signature, from which typer takes the options, stays.
    """
    import typer

    @functools.wraps(command)
    def reported(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except EdgeposeError as error:
            _log.fail(program, " ".join(str(error).split()))
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            _log.fail(program, "interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return reported


def group(text: str) -> typer.Typer:
    """A program of several commands, whose help begins with ``text``."""
    import typer

    app = typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )

    @app.callback()
    def whole() -> None:
        """Without a callback typer would make a lone command the program itself."""

    return app


def run(program: str, command: Callable[..., None]) -> None:
    """Run ``command`` as the program ``program``, with the arguments of this process."""
    import typer

    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    app.command()(reporting(program, command))
    app(prog_name=program)


@contextlib.contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; call with how many more are done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    ) as bar:
        task, due = bar.add_task(title, total=total), 0.0

        def advance(more: int) -> None:
            # Drawn ten times a second at most.
            nonlocal due
            refresh = time.monotonic() >= due
            if refresh:
                due = time.monotonic() + 0.1
            bar.update(task, advance=more, refresh=refresh)

        yield advance
