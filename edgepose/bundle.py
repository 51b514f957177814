"""A trained model on disk: ``bundle.toml``, the networks it names, and golden input/output pairs.

Loading checks the format and every file's SHA-256; ``bundle.toml`` has its own in its first line,
see :func:`sealed`. :func:`verify` runs the golden pairs on a
backend and refuses one that is silently wrong.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import numpy as np

from edgepose.backends import Backend
from edgepose.errors import BackendError, BundleError
from edgepose.skeleton import SKELETONS, Skeleton

FORMAT = 1
SHIPPED = Path(__file__).parent / "models" / "edgepose-s"

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
    """The person detector: letterboxed ``size`` (height, width), least ``score``, NMS ``iou``."""

    file: str
    sha256: str
    size: tuple[int, int]
    score: float
    iou: float


class GoldenSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file with the golden pairs."""

    file: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of ``bundle.toml``."""

    format: int
    name: str
    version: str
    skeleton: str
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


class Bundle:
    """A checked bundle folder; ``manifest`` holds its facts, :meth:`path` its files."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """Read and check ``folder`` (None: the shipped bundle).

        Raises BundleError if it is missing, damaged, of a newer format or inconsistent.
        """
        self.folder = Path(folder) if folder is not None else SHIPPED
        path = self.folder / "bundle.toml"
        try:
            content = path.read_bytes()
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
            found = msgspec.toml.decode(content, type=_Format).format
            if found > FORMAT:
                raise BundleError(
                    f"bundle {self.folder} has format {found}, newer than {FORMAT}, the newest "
                    "that this edgepose reads; upgrade edgepose or use an older bundle"
                )
            self.manifest = msgspec.toml.decode(content, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            raise BundleError(f"{path} is not a valid bundle description: {error}") from error
        m = self.manifest
        if m.skeleton not in SKELETONS:
            raise BundleError(
                f"bundle {m.name} has the skeleton {m.skeleton!r}; known are {', '.join(SKELETONS)}"
            )
        if not m.stages:
            raise BundleError(f"bundle {m.name} has no stages; export it again")
        self._check(m.golden.file, m.golden.sha256)
        for spec in (*m.stages, m.detector):
            if spec is not None:
                self._check(spec.file, spec.sha256)

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def skeleton(self) -> Skeleton:
        """Joints in the order of the networks' outputs."""
        return SKELETONS[self.manifest.skeleton]

    def path(self, file: str) -> Path:
        """Path of one of the bundle's files."""
        return self.folder / file

    def _check(self, file: str, expected: str) -> None:
        path = self.path(file)
        if path.resolve().parent != self.folder.resolve():
            raise BundleError(f"bundle {self.folder} names {file!r}, which is outside its folder")
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise BundleError(
                f"bundle {self.folder} lacks {file} ({error.strerror}); copy the bundle again"
            ) from error
        if found != expected:
            raise BundleError(
                f"{path} is damaged: its SHA-256 is {found[:12]}…, the bundle says "
                f"{expected[:12]}…; copy the bundle again"
            )


# What rounding every layer may cost; float32 and whatever else there is must keep to 1e-3.
_TOLERANCE = {"float16": 0.02, "bfloat16": 0.1}


def verify(bundle: Bundle, backend: Backend, tolerance: float | None = None) -> dict[str, float]:
    """Run the golden pairs on ``backend``: the largest difference per stage from float64.

    Positions are normalised, scores in [0, 1]. Raises BackendError above ``tolerance``; None: 1e-3
    for float32, more for lower precisions.
    """
    if tolerance is None:
        tolerance = _TOLERANCE.get(backend.precision, 1e-3)
    worst: dict[str, float] = {}
    with np.load(bundle.path(bundle.manifest.golden.file)) as golden:
        for number, spec in enumerate(bundle.manifest.stages, 1):
            names = [f"{kind}{number}" for kind in ("input", "points", "scores")]
            if not all(name in golden for name in names):
                raise BundleError(
                    f"bundle {bundle.name} has no golden pair for stage {number}; export it again"
                )
            inputs, *references = (golden[name] for name in names)
            outputs = backend.load(bundle.path(spec.file))(inputs.astype(np.float32))
            if [o.shape for o in outputs] != [r.shape for r in references]:
                raise BackendError(
                    f"backend {backend.name} is wrong on stage {number} of {bundle.name}: its "
                    "outputs have other shapes; use --backend onnxruntime"
                )
            # NumPy's maximum keeps a NaN, Python's may not.
            differences = [np.abs(o - r).max() for o, r in zip(outputs, references, strict=True)]
            error = float(np.max(differences))
            worst[f"stage {number}"] = error
            if not error <= tolerance:
                raise BackendError(
                    f"backend {backend.name} is wrong on stage {number} of {bundle.name}: it is "
                    f"off by {error:.3g}, allowed are {tolerance:.3g}; use --backend onnxruntime"
                )
    return worst
