"""A trained model on disk: ``bundle.toml``, the networks it names, and golden input/output pairs.

Loading checks the description (:mod:`edgepose.bundle_manifest`) and every file's SHA-256. It knows
no runtime: :mod:`edgepose.verify.golden` runs the golden pairs.
A bundle may come from anywhere: what its files can do to the reader is bounded, see SECURITY.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgepose import onnx_wire
from edgepose.archive import array_shapes
from edgepose.bundle_manifest import read_manifest
from edgepose.errors import BundleError
from edgepose.foreign import inside, read_bounded

SHIPPED = Path(__file__).parent / "models" / "edgepose-s"

_NETWORK_BYTES, _GOLDEN_BYTES = 2**29, 2**28


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


class Bundle:
    """A checked bundle folder; ``manifest`` holds its facts, :meth:`path` its files."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """Read and check ``folder`` (None: the shipped bundle).

        Raises BundleError if it is missing, damaged, of a newer format or inconsistent.
        """
        self.folder = Path(folder) if folder is not None else SHIPPED
        self.manifest, self.skeleton = read_manifest(self.folder)
        m = self.manifest
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
