"""Engine recipes: precision, batch, what stays float32 and how much drift is allowed, as TOML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgepose.errors import EngineError

Precision = Literal["fp16", "bf16", "fp32"]
Positive = Annotated[float, msgspec.Meta(gt=0)]


Batch = tuple[int, ...]
"""Numbers of persons that a call may have, ascending: an engine is tuned for each."""


def parse_batch(text: str) -> Batch:
    """Read "1:2:4", persons; EngineError unless they are 1 to 16 numbers from 1 on, ascending."""
    match = re.fullmatch(r"\d{1,6}(:\d{1,6}){0,15}", text)
    batch = tuple(map(int, text.split(":"))) if match else ()
    if not batch or batch[0] < 1 or list(batch) != sorted(set(batch)):
        raise EngineError(
            f"the batch {text!r} is not the numbers of persons that calls may have, ascending, "
            "such as 1:2:4:8"
        )
    return batch


def written(batch: Batch) -> str:
    """A batch as it is typed."""
    return ":".join(map(str, batch))


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Largest drift from the float64 reference that is accepted.

    ``pixels``: of a joint, on a person 220 pixels high. ``scores``: of a score.
    """

    pixels: Positive = 0.5
    scores: Positive = 0.02


class NetworkRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs for one network; None takes the recipe's own."""

    precision: Precision | None = None
    batch: str | None = None
    float32: tuple[str, ...] = ()


class EngineRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How engines are built.

    ``batch``: persons that a call may have, such as "1:2:4:8", as of :func:`parse_batch`.
    ``workspace``: MiB of scratch memory for layers. ``networks``: by name (``stage1``,
    ``detector``), what differs there.
    """

    precision: Precision = "fp16"
    batch: str = "1:2:4:8"
    workspace: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256
    limits: Limits = Limits()
    networks: dict[str, NetworkRecipe] = {}

    def precision_of(self, network: str) -> Precision:
        """Precision of one network."""
        return self.networks.get(network, NetworkRecipe()).precision or self.precision

    def batch_of(self, network: str) -> Batch:
        """Batch of one network, in persons."""
        return parse_batch(self.networks.get(network, NetworkRecipe()).batch or self.batch)

    def float32_of(self, network: str) -> tuple[str, ...]:
        """Patterns for the nodes of one network that stay float32."""
        return self.networks.get(network, NetworkRecipe()).float32


def read_engine_recipe(path: Path) -> EngineRecipe:
    """Read a recipe; EngineError if it cannot be read or is not one."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=EngineRecipe)
    except OSError as error:
        raise EngineError(
            f"cannot read the recipe {path} ({error.strerror}); give the path of a .toml such as "
            "engines/default.toml"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise EngineError(f"{path} is not a valid engine recipe: {error}") from error
