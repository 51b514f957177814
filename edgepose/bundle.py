"""A trained model on disk: ``bundle.toml``, the networks it names, and golden input/output pairs.

Loading checks the format and every file's SHA-256; ``bundle.toml`` has its own in its first line,
see :func:`sealed`. It knows no runtime: :mod:`edgepose.verify.golden` runs the golden pairs.
A bundle may come from anywhere: what its files can do to the reader is bounded, see SECURITY.md.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgepose import onnx_wire
from edgepose.archive import array_shapes
from edgepose.errors import BundleError
from edgepose.foreign import TOML_BYTES, decode_toml, inside, printable, read_bounded
from edgepose.skeleton import SKELETONS, Skeleton, SkeletonSpec

FORMAT = 2
SHIPPED = Path(__file__).parent / "models" / "edgepose-s"

_LARGEST = 4096  # pixels of an input's side
_STAGES, _JOINTS = 16, 512
_NETWORK_BYTES, _GOLDEN_BYTES = 2**29, 2**28
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


@dataclass(frozen=True)
class NetworkSpec:
    """One network of a bundle, as a runtime or an engine builder needs it.

    ``stage``: its number, None for the detector. ``rows``: batch rows per person (1, k for later
    stages). ``shape``: the input's (3, H, W). ``fixed``: it takes one picture a call.
    """

    name: str
    path: Path
    sha256: str
    input: str
    shape: tuple[int, ...]
    rows: int
    fixed: bool
    stage: int | None = None


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


class _Format(msgspec.Struct):
    format: int


_SEAL = re.compile(rb"# sha256: ([0-9a-f]{64})\n")


def sealed(text: str) -> str:
    """``text`` of a bundle.toml under a first line, a comment, with its SHA-256."""
    return f"# sha256: {hashlib.sha256(text.encode()).hexdigest()}\n{text}"


class Bundle:
    """A checked bundle folder; ``manifest`` holds its facts, :meth:`path` its files."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """Read and check ``folder`` (None: the shipped bundle).

        Raises BundleError if it is missing, damaged, of a newer format or inconsistent.
        """
        self.folder = Path(folder) if folder is not None else SHIPPED
        path = self.folder / "bundle.toml"
        try:
            content = read_bounded(inside(self.folder, path.name), TOML_BYTES)
        except OSError as error:
            raise BundleError(
                f"no bundle at {self.folder}: cannot read {path.name} ({error.strerror}); "
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
                    f"bundle {self.folder} has format {found}, newer than {FORMAT}, the newest "
                    "that this edgepose reads; upgrade edgepose or use an older bundle"
                )
            self.manifest = decode_toml(content, BundleManifest)
        except (msgspec.MsgspecError, ValueError) as error:
            raise BundleError(f"{path} is not a valid bundle description: {error}") from error
        self.skeleton = self._skeleton()
        m = self.manifest
        if fault := _fault(m, self.skeleton):
            raise BundleError(f"bundle {self.folder} {fault}; export it again")
        self._check(m.golden.file, m.golden.sha256, _GOLDEN_BYTES)
        for spec in (*m.stages, m.detector):
            if spec is not None:
                network = self._check(spec.file, spec.sha256, _NETWORK_BYTES)
                if fault := onnx_wire.fault(network):
                    raise BundleError(f"{self.path(spec.file)} {fault}; use another bundle")
        self._check_golden()

    def _check_golden(self) -> None:
        """The golden pairs were made by the networks: sizes and joints must be the description's.

        Pairs of another form are refused later, when they are run; absent ones too.
        """
        m, k = self.manifest, len(self.skeleton)
        path = self.path(m.golden.file)
        try:
            shapes = array_shapes(path, _GOLDEN_BYTES)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path} holds no golden pairs ({error}); export the bundle again"
            ) from error
        for number, stage in enumerate(m.stages, 1):
            side = (*shapes.get(f"input{number}", (0, 3, stage.size)), 0, 0, 0)[2]
            if side != stage.size:
                raise BundleError(
                    f"bundle {self.folder} gives stage {number} an input of {stage.size} pixels, "
                    f"its network takes {side}; export it again"
                )
            rows = (*shapes.get(f"points{number}", (k, k)), 0, 0)
            joints = rows[1] if number == 1 else rows[0]
            if (joints != k) if number == 1 else (joints % k):
                raise BundleError(
                    f"bundle {self.folder} has the skeleton {self.skeleton.name} of {k} joints, "
                    f"stage {number} was exported for {joints}; export it again"
                )

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.manifest.name} {self.manifest.version}"

    def _skeleton(self) -> Skeleton:
        """Joints in the order of the networks' outputs."""
        given = self.manifest.skeleton
        if not isinstance(given, str):
            try:
                return given.skeleton()
            except ValueError as error:
                raise BundleError(
                    f"bundle {self.folder} has a skeleton that is not valid: {error}; export it "
                    "again"
                ) from error
        if given not in SKELETONS:
            raise BundleError(
                f"bundle {self.manifest.name} has the skeleton {given!r}; known are "
                f"{', '.join(SKELETONS)}"
            )
        return SKELETONS[given]

    def networks(self) -> list[NetworkSpec]:
        """The networks: ``stage1``, ``stage2``, …, ``detector``, and ``detector-portrait``.

        The last is the detector's file again, for frames higher than wide; a square one has none.
        """
        found = []
        for number, spec in enumerate(self.manifest.stages, 1):
            rows = 1 if number == 1 else len(self.skeleton)
            shape = (3, spec.size, spec.size)
            path, name = self.path(spec.file), f"stage{number}"
            found.append(NetworkSpec(name, path, spec.sha256, "crops", shape, rows, False, number))
        detector = self.manifest.detector
        if detector is not None:
            path, (height, width) = self.path(detector.file), detector.size
            shapes = {"detector": (3, height, width)}
            if height != width:
                shapes["detector-portrait"] = (3, width, height)
            found += [
                NetworkSpec(name, path, detector.sha256, "image", shape, 1, True)
                for name, shape in shapes.items()
            ]
        return found

    def network(self, name: str) -> NetworkSpec:
        """The network called ``name``; BundleError if there is none."""
        for network in self.networks():
            if network.name == name:
                return network
        there = ", ".join(n.name for n in self.networks())
        raise BundleError(f"bundle {self.name} has no network {name!r}; it has {there}")

    def path(self, file: str) -> Path:
        """Path of one of the bundle's files."""
        return self.folder / file

    def _check(self, file: str, expected: str, most: int) -> bytes:
        """The content of one of the bundle's files, by its checksum the right one."""
        try:
            path = inside(self.folder, file)
            if path.resolve().parent != self.folder.resolve():
                raise OSError("it lies in a folder of its own")
        except OSError:
            raise BundleError(
                f"bundle {self.folder} names {file!r}, which is outside its folder; use another "
                "bundle"
            ) from None
        try:
            content = read_bounded(path, most)
        except OSError as error:
            raise BundleError(
                f"bundle {self.folder} lacks {file} ({error.strerror}); copy the bundle again"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise BundleError(
                f"{path} is damaged: its SHA-256 is {found[:12]}…, the bundle says "
                f"{expected[:12]}…; copy the bundle again"
            )
        return content
