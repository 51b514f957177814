"""How 8-bit levels become a network's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

RGB: TypeAlias = tuple[float, float, float]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Normalisation(NamedTuple):
    """Per RGB channel: ``out = v * gain - mean / std`` for a level v, and what lies outside.

    Attributes:
        gain: ``scale / std``.
        border: 8-bit levels outside the frame.
        padding: ``border`` normalised, given so that ``border = mean`` yields exactly 0.
    """

    gain: RGB
    border: RGB
    padding: RGB


def normalisation(
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    border: Sequence[float] | None = None,
) -> Normalisation:
    """Work out the record from what ``edgepose.crop.crop`` takes; see there for the arguments.

    Raises:
        ValueError: an argument is no finite number, is 0 where it divides, or is too large.
    """
    try:
        return _remembered(scale, mean, std, border)
    except TypeError:  # a list or an array
        return _normalisation(scale, mean, std, border)


def _normalisation(
    scale: float, mean: Sequence[float], std: Sequence[float], border: Sequence[float] | None
) -> Normalisation:
    (factor,) = _floats((scale,), "scale", 1)
    centre, spread = _floats(mean, "mean", 3), _floats(std, "std", 3)
    if factor == 0:
        raise ValueError("scale must not be 0")
    if 0 in spread:
        raise ValueError("std must not be 0")
    gain = [factor / s for s in spread]
    if border is None:
        levels, padding = [m / factor for m in centre], [0.0, 0.0, 0.0]
    else:
        levels = _floats(border, "border", 3)
        padding = [g * v - m / s for g, v, m, s in zip(gain, levels, centre, spread, strict=True)]
    products = [g * v for g, v in zip(gain, levels, strict=True)]
    if not max(map(abs, (*gain, *levels, *padding, *products))) <= _FLOAT32_MAX:
        raise ValueError("scale, mean, std and border must give values that fit in float32")
    return Normalisation(_rgb(gain), _rgb(levels), _rgb(padding))


_remembered = lru_cache(maxsize=64)(_normalisation)


def _rgb(values: list[float]) -> RGB:
    r, g, b = values
    return r, g, b


def _floats(values: Sequence[float], name: str, count: int) -> list[float]:
    try:
        good = len(values) == count and all(map(math.isfinite, values))
    except (TypeError, OverflowError):
        good = False
    if not good:
        kind = "a finite number" if count == 1 else "three finite numbers (R, G, B)"
        raise ValueError(f"{name} must be {kind}, not {values!r}")
    return [float(value) for value in values]
