"""The command line: ``edgepose COMMAND``, and each command as a program of its own.

A command is a module ``edgepose/cli/NAME.py`` with a function ``command``, whose parameters and
docstring typer turns into options and help, and a function ``main`` that runs it as
``edgepose-NAME``. The modules import nothing heavy at their top: help must be quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

COMMANDS = ("run", "build", "eval", "train", "bench", "batch", "doctor")
GROUPS = ("data", "export")  # modules whose ``app`` holds commands of its own


def app() -> typer.Typer:
    """All commands as one program, ``edgepose COMMAND …``."""
    from edgepose.cli._common import group, reporting

    whole = group("Real-time human pose on the edge: the DeepPose cascade on a camera or a video.")
    for name in COMMANDS:
        module = importlib.import_module(f"edgepose.cli.{name}")
        whole.command(name)(reporting(f"edgepose {name}", module.command))
    for name in GROUPS:
        whole.add_typer(importlib.import_module(f"edgepose.cli.{name}").app, name=name)
    return whole


def main() -> None:
    """Run ``edgepose COMMAND …``."""
    app()()
