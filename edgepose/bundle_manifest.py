"""``bundle.toml``, the description of a bundle: what it holds, how it is read and checked.

A bundle may come from anywhere: what its description can do to the reader is bounded, see
SECURITY.md.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path

import msgspec

from edgepose.errors import BundleError
from edgepose.foreign import TOML_BYTES, decode_toml, inside, printable, read_bounded
from edgepose.skeleton import SKELETONS, Skeleton, SkeletonSpec

FORMAT = 2

_LARGEST = 4096  # pixels of an input's side
_STAGES, _JOINTS = 16, 512
_INPUT_BYTES = 2**29  # one person's crops of a stage, float32

Triple = tuple[float, float, float]


class Pixels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How 8-bit RGB becomes a network's input: ``v·(scale/std) - mean/std`` per channel."""

    scale: float
    mean: Triple
    std: Triple


class StageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage of the cascade.

    ``size``: side of the square input, pixels. ``extent``: what the crop covers; for stage 1 the
    margin, in longer sides of the person's box, for later stages σ, in torso diameters.
    """

    file: str
    sha256: str
    size: int
    extent: float


class DetectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The person detector.

    ``size``: height and width, pixels, of the input that a letterboxed frame fills; where they
    differ, frames higher than wide take them exchanged. ``score``: the least that counts. ``iou``:
    boxes that overlap more are one person.
    """

    file: str
    sha256: str
    size: tuple[int, int]
    score: float
    iou: float


class GoldenSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file with the golden pairs."""

    file: str
    sha256: str


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of ``bundle.toml``; ``skeleton`` is a known one's name (format 1) or spelt out."""

    format: int
    name: str
    version: str
    skeleton: str | SkeletonSpec
    licence: str
    pixels: Pixels
    stages: list[StageSpec]
    golden: GoldenSpec
    detector: DetectorSpec | None = None
    training: dict[str, str | int | float] = {}


class _Format(msgspec.Struct):
    format: int


_SEAL = re.compile(rb"# sha256: ([0-9a-f]{64})\n")


def sealed(text: str) -> str:
    """``text`` of a bundle.toml under a first line, a comment, with its SHA-256."""
    return f"# sha256: {hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_manifest(folder: Path) -> tuple[BundleManifest, Skeleton]:
    """The description in ``folder``, and its joints in the order of the networks' outputs.

    Raises BundleError if it is missing, damaged, of a newer format or inconsistent.
    """
    path = folder / "bundle.toml"
    try:
        content = read_bounded(inside(folder, path.name), TOML_BYTES)
    except OSError as error:
        raise BundleError(
            f"no bundle at {folder}: cannot read {path.name} ({error.strerror}); "
            "give the folder of a bundle, or leave --bundle out for the shipped one"
        ) from error
    seal = _SEAL.match(content)
    if seal and hashlib.sha256(content[seal.end() :]).hexdigest().encode() != seal[1]:
        raise BundleError(
            f"{path} is damaged or was changed: it does not match the SHA-256 in its first "
            "line; copy the bundle again, or remove that line if you changed it on purpose"
        )
    try:
        # The format first: a newer bundle may hold fields that this version cannot know.
        found = decode_toml(content, _Format).format
        if found > FORMAT:
            raise BundleError(
                f"bundle {folder} has format {found}, newer than {FORMAT}, the newest "
                "that this edgepose reads; upgrade edgepose or use an older bundle"
            )
        manifest = decode_toml(content, BundleManifest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BundleError(f"{path} is not a valid bundle description: {error}") from error
    skeleton = _skeleton(folder, manifest)
    if fault := _fault(manifest, skeleton):
        raise BundleError(f"bundle {folder} {fault}; export it again")
    return manifest, skeleton


def _skeleton(folder: Path, manifest: BundleManifest) -> Skeleton:
    given = manifest.skeleton
    if not isinstance(given, str):
        try:
            return given.skeleton()
        except ValueError as error:
            raise BundleError(
                f"bundle {folder} has a skeleton that is not valid: {error}; export it again"
            ) from error
    if given not in SKELETONS:
        raise BundleError(
            f"bundle {manifest.name} has the skeleton {given!r}; known are {', '.join(SKELETONS)}"
        )
    return SKELETONS[given]


def _fault(m: BundleManifest, skeleton: Skeleton) -> str | None:
    """A value that no bundle can have, if there is one: it would fail, or estimate nonsense."""
    if not 1 <= len(m.stages) <= _STAGES:
        return f"has {len(m.stages) or 'no'} stages (1 to {_STAGES})"
    if len(skeleton) > _JOINTS:
        return f"has {len(skeleton)} joints (at most {_JOINTS})"
    if not all(map(printable, (m.name, m.version, skeleton.name, *skeleton.joints))):
        return "has a name that is too long or cannot be shown"
    p = m.pixels
    if not (_positive(p.scale) and all(map(_positive, p.std)) and all(map(math.isfinite, p.mean))):
        return "gives pixels a scale, mean or std that is not finite and positive"
    for number, stage in enumerate(m.stages, 1):
        if not 8 <= stage.size <= _LARGEST:
            return f"gives stage {number} an input of {stage.size} pixels (8 to {_LARGEST})"
        if number > 1 and 12 * len(skeleton) * stage.size**2 > _INPUT_BYTES:
            return f"gives stage {number} {len(skeleton)} crops of {stage.size} pixels, too many"
        if not (_positive(stage.extent) and stage.extent <= 100):
            return f"gives stage {number} an extent (σ) of {stage.extent} (above 0, at most 100)"
    if m.detector is not None:
        if not all(8 <= side <= _LARGEST for side in m.detector.size):
            return f"gives the detector an input of {m.detector.size} pixels (8 to {_LARGEST})"
        if not (0 <= m.detector.score <= 1 and 0 <= m.detector.iou <= 1):
            return "gives the detector a score or IoU outside of 0 to 1"
    return None


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
