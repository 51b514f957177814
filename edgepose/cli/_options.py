"""Options that several commands share, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from edgepose.output.open import KINDS

BUNDLE = "The model's folder; default: the one that ships."


def bundle(panel: str | None = None) -> Any:
    """``--bundle``: the model."""
    return typer.Option(help=BUNDLE, rich_help_panel=panel)


def backend(panel: str | None = None) -> Any:
    """``--backend``: what runs the networks."""
    return typer.Option(help="What runs the networks.", rich_help_panel=panel)


def recipe(what: str, panel: str | None = None) -> Any:
    """``--recipe``: how engines are built; ``what`` says it for this command."""
    return typer.Option(help=what, rich_help_panel=panel)


def no_build(what: str, panel: str | None = None) -> Any:
    """``--no-build``: no engine is built."""
    return typer.Option("--no-build", help=what, rich_help_panel=panel)


def with_outputs(command: Callable[..., None], panel: str) -> Callable[..., None]:
    """``command`` with an option for every row of the table of outputs in place of its keywords."""
    signature = inspect.signature(command, eval_str=True)
    fixed = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = []
    for name, kind in KINDS.items():
        flag = f"--{name}"
        what = typer.Option(flag, metavar=kind.metavar, help=kind.help, rich_help_panel=panel)
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
