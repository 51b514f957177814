"""What an engine was built from and for: a JSON file beside each plan, checked before it is opened.

The plan's name is in the manifest, and the manifest is written last: an engine is there once its
manifest is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgepose.engine.recipe import Batch, Precision, written
from edgepose.errors import EngineError

FORMAT = 2  # 1: a batch was one range
CONVERTER = 1  # raised whenever convert.py gives other networks for the same input


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides what a plan is; its hash is the plan's key.

    ``onnx``: SHA-256 of the bundle's network. ``cuda``: major version of the driver's CUDA, empty
    if the plan was built ahead of time. ``batch``: persons of a call, an optimisation profile for
    each number, None for a network of fixed shape;
    ``float32`` and ``workspace`` (MiB) come from the recipe.
    """

    network: str
    onnx: str
    flavour: str
    version: str
    targets: tuple[str, ...]
    cuda: str
    precision: Precision
    batch: Batch | None
    float32: tuple[str, ...]
    workspace: int
    converter: int = CONVERTER

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Largest difference from the reference.

    ``points`` in sides of the crop, ``pixels`` on a person 220 pixels high, ``scores`` in [0, 1].
    ``of``: what was run, ``engine`` or, where there is no GPU, ``network``.
    """

    points: float
    pixels: float
    scores: float
    of: str


class EngineManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a manifest: identity, the plan's file, and how the build went."""

    format: int
    bundle: str
    identity: Identity
    plan: str
    sha256: str
    bytes: int
    seconds: float
    built: str
    edgepose: str
    drift: Drift | None = None


class _Format(msgspec.Struct):
    format: int


def read_manifest(path: Path) -> EngineManifest:
    """Read and validate a manifest; EngineError, less a remedy, if it is damaged or too new."""
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content, type=_Format).format
        if found != FORMAT:
            raise EngineError(
                f"engine manifest {path} has format {found}, this edgepose reads format {FORMAT}"
            )
        manifest = msgspec.json.decode(content, type=EngineManifest)
    except OSError as error:
        raise EngineError(f"cannot read engine manifest {path} ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineError(f"engine manifest {path} is damaged ({error})") from error
    if Path(manifest.plan).name != manifest.plan:
        raise EngineError(f"engine manifest {path} names a plan outside its folder")
    return manifest


def differences(found: Identity, wanted: Identity) -> list[str]:
    """Why a plan of identity ``found`` cannot serve as ``wanted``; empty if it can."""
    said = []
    if found.onnx != wanted.onnx:
        said.append(
            f"the network has changed since (SHA-256 {found.onnx[:12]}…, expected "
            f"{wanted.onnx[:12]}…)"
        )
    if (found.flavour, found.version) != (wanted.flavour, wanted.version):
        said.append(
            f"it was built by {found.flavour} {found.version}, expected is {wanted.flavour} "
            f"{wanted.version}"
        )
    if not set(wanted.targets) <= set(found.targets):
        said.append(
            f"it is for compute capability {', '.join(found.targets)}, expected is "
            f"{', '.join(wanted.targets)}"
        )
    if found.cuda and wanted.cuda and found.cuda != wanted.cuda:
        said.append(f"it is for CUDA {found.cuda}, expected is CUDA {wanted.cuda}")
    if found.precision != wanted.precision:
        said.append(f"its precision is {found.precision}, expected is {wanted.precision}")
    if found.batch != wanted.batch:
        batches = [written(i.batch) if i.batch else "fixed" for i in (found, wanted)]
        said.append("its batch is {}, expected is {}".format(*batches))
    if (found.float32, found.workspace) != (wanted.float32, wanted.workspace):
        said.append("its recipe keeps other layers in float32 or another workspace")
    if found.converter != wanted.converter:
        said.append("it was converted by another version of edgepose")
    return said
