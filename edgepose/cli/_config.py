"""Options from a file, and the effective ones as a file."""

from __future__ import annotations

import difflib
import enum
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from edgepose.errors import EdgeposeError
from edgepose.sources.source import redact

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Options about options: they make no sense in a file.
NOT_IN_FILES = frozenset({"config", "print-config", "explain-source", "list-cameras", "help"})


def load(ctx: typer.Context, path: Path | None) -> Path | None:
    """Callback of ``--config``: the file's values become the defaults of this call's options."""
    if path is not None:
        names = _names(ctx)
        try:
            ctx.default_map = {**(ctx.default_map or {}), **_read(path, names)}
        except EdgeposeError as error:
            print(f"{ctx.command_path}: {error}", file=sys.stderr)  # noqa: T201
            raise typer.Exit(2) from None
    return path


def effective(ctx: typer.Context) -> str:
    """Every option of this call that has a value, as TOML that ``--config`` takes back.

    Passwords are left out: what is printed may be kept and passed on.
    """
    import tomli_w

    plain: dict[str, Any] = {}
    for option, name in _names(ctx).items():
        value = ctx.params.get(name)
        value = value.value if isinstance(value, enum.Enum) else value
        if value in (None, (), []):
            continue
        if isinstance(value, list | tuple):
            plain[option] = [redact(v) if isinstance(v, str) else v for v in value]
        elif isinstance(value, bool | int | float):
            plain[option] = value
        else:
            plain[option] = redact(str(value))
    return tomli_w.dumps(plain)


def _names(ctx: typer.Context) -> dict[str, str]:
    """Option → parameter."""
    found = {p.opts[0].removeprefix("--"): p.name or "" for p in ctx.command.params}
    return {option: name for option, name in found.items() if option not in NOT_IN_FILES}


def _read(path: Path, names: Mapping[str, str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EdgeposeError(f"'{path}' cannot be read ({reason}); check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgeposeError(f"'{path}' is no TOML: {error}.") from None
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        option = key.replace("_", "-")
        if option not in names:
            near = difflib.get_close_matches(option, names, 1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(names)}."
            raise EdgeposeError(f"'{path}' has an unknown key '{key}'; {remedy}")
        if isinstance(value, dict):
            raise EdgeposeError(f"'{path}': '{key}' is a table; give it a value.")
        chosen[names[option]] = value
    return chosen
