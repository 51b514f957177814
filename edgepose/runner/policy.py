"""What becomes of a live source's frames while there is no time for them."""

from __future__ import annotations

from dataclasses import dataclass

_MOST = 8  # frames that wait under max-age: memory has an end too


@dataclass(frozen=True)
class DropPolicy:
    """A named rule: ``latest``, ``all`` or ``max-age=MS``.

    ``capacity``: frames of a source that may wait. ``drops``: whether the oldest makes room for one
    more, else the source waits. ``max_age``: seconds after which a waiting frame is not wanted.
    """

    name: str
    capacity: int
    drops: bool
    max_age: float | None = None


LATEST = DropPolicy("latest", 1, True)
"""The newest frame counts; for live sources."""
ALL = DropPolicy("all", 2, False)
"""Every frame counts, however old: the source waits. Files always have it."""


def parse_policy(text: str) -> DropPolicy:
    """``latest``, ``all`` or ``max-age=MS``; ValueError with a sentence for anything else."""
    if text in ("latest", "all"):
        return LATEST if text == "latest" else ALL
    name, _, milliseconds = text.partition("=")
    try:
        age = float(milliseconds)
    except ValueError:
        age = 0.0
    if name != "max-age" or not 0 < age < float("inf"):
        raise ValueError(
            f"'{text}' is no drop policy; give latest, all, or max-age=MS such as max-age=200."
        )
    return DropPolicy(text, _MOST, True, age / 1e3)
