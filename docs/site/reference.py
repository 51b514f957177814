"""The reference of all commands as Markdown, from the programs themselves."""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator
from typing import Any

import typer.main

from edgepose import cli


def programs() -> Iterator[tuple[str, Any]]:
    """Every program's name, such as ``edgepose-run`` or ``edgepose-data show``, and its command."""
    whole: Any = typer.main.get_command(cli.app())
    for name, command in whole.commands.items():
        inner = getattr(command, "commands", None)
        for below, one in ({"": command} if inner is None else inner).items():
            yield f"edgepose-{name} {below}".strip(), one


def reference() -> str:
    """The page."""
    parts = [
        "# Commands\n\nMade from the programs when this site was built. Each is also a part of "
        "`edgepose`: `edgepose run` is `edgepose-run`. What is given wrongly ends with one "
        "sentence and exit code 2.\n"
    ]
    for name, command in programs():
        parts.append(f"## {name}\n\n{_paragraphs(command.help or '')}\n")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        words = " ".join(_argument(p) for p in arguments)
        parts.append(f"```\n{name} {words + ' ' if words else ''}[OPTIONS]\n```\n")
        panels: dict[str, list[Any]] = {"Arguments": arguments}
        for option in command.params:
            if option.param_type_name == "option" and not option.hidden:
                panel = getattr(option, "rich_help_panel", None) or "Options"
                panels.setdefault(panel, []).append(option)
        for panel, shown in panels.items():
            if shown:
                lines = "\n".join(map(_row, shown))
                parts.append(f"| {panel} | | default |\n|---|---|---|\n{lines}\n")
    return "\n".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    name = name if parameter.required else f"[{name.strip('[]')}]"
    return f"{name}…" if parameter.nargs == -1 else name


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        form = _argument(parameter)
    else:
        form = " / ".join(parameter.opts + parameter.secondary_opts)
        if not getattr(parameter, "is_flag", False):
            form += f" {parameter.metavar or _kind(parameter)}"
    text = " ".join((parameter.help or "").split())
    if getattr(parameter, "multiple", False) and "several times" not in text:
        text += " May be given several times."
    return f"| `{_cell(form)}` | {_cell(text)} | {_cell(_default(parameter))} |"


def _kind(parameter: Any) -> str:
    """What stands for an option's value."""
    # Typer keeps the annotation; before it brought a click of its own, click's type.
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        kind = parameter.type
        choices = getattr(kind, "choices", ())
        name = kind.name.removesuffix(" range")
    else:
        kind = described.annotation
        while typing.get_args(kind):
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
        choices = kind if issubclass(kind, enum.Enum) else ()
        name = kind.__name__.lower()
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return {"int": "N", "integer": "N", "float": "X", "str": "TEXT"}.get(name, name.upper())


def _default(parameter: Any) -> str:
    value = parameter.default
    if isinstance(value, enum.Enum):
        value = value.value
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return ""
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
