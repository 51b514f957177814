"""What ``edgepose-doctor`` has to say of one thing."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

OK, OPTIONAL, BROKEN = "ok", "missing", "broken"
_JETPACK = Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Finding:
    """One thing: what was found, whether that is ``ok``, optional and ``missing``, or ``broken``.

    ``next``: what to do, empty if there is nothing to do.
    """

    what: str
    found: str
    state: str = OK
    next: str = ""


def package(name: str, step: str, *, needed: bool = False) -> Finding:
    """A Python package: its version, or the step that brings it."""
    if importlib.util.find_spec(name) is None:
        return Finding(name, "not installed", BROKEN if needed else OPTIONAL, step)
    try:
        return Finding(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "installed, of unknown version")


def read(path: Path) -> str:
    """The text of a file, empty where there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def jetpack() -> str:
    """What NVIDIA's system for Jetsons says of itself, empty elsewhere."""
    return read(_JETPACK)
