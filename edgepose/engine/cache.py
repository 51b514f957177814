"""Engines on disk: found by manifest, written whole or not at all, one builder at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from edgepose.engine.manifest import EngineManifest, Identity, differences, read_manifest
from edgepose.errors import EngineError
from edgepose.files import FULL, write_whole

_OURS = re.compile(
    r".+-[0-9a-f]{12}-[0-9a-f]{8}\.(plan|kernels)(\.part)?|.+-[0-9a-f]{12}\.json\.part"
)


def default_folder() -> Path:
    """``engines/`` of a checkout, otherwise ``edgepose/engines`` in the user's cache."""
    checkout = Path(__file__).parents[2]
    if (checkout / "engines").is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout / "engines"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "edgepose" / "engines"


class Cache:
    """A folder of engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifests(self) -> list[tuple[Path, EngineManifest | EngineError]]:
        """Every manifest in the folder, or why it cannot be read."""
        return [(p, _manifest(p)) for p in sorted(self.folder.glob("*-[0-9a-f]*.json"))]

    def find(self, bundle: str, wanted: Identity) -> tuple[EngineManifest | None, str]:
        """The engine that can serve as ``wanted``; None, and why the nearest one cannot.

        The reason is empty if there is none at all. Plans are not looked at: see :meth:`read`.
        """
        nearest: tuple[int, str] | None = None
        for path, manifest in self.manifests():
            if isinstance(manifest, EngineError):
                if path.stem == f"{wanted.network}-{wanted.key}":
                    return None, str(manifest)
                continue
            found = manifest.identity
            if (manifest.bundle, found.network) != (bundle, wanted.network):
                continue
            wrong = differences(found, wanted)
            if not wrong:
                return manifest, ""
            if nearest is None or len(wrong) < nearest[0]:
                text = f"engine {self.folder / manifest.plan} does not fit: {'; '.join(wrong)}"
                nearest = len(wrong), text
        return None, nearest[1] if nearest else ""

    def read(self, manifest: EngineManifest) -> bytes:
        """A plan, checked against its manifest; EngineError, less a remedy, if it is damaged."""
        path = self.folder / manifest.plan
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise EngineError(f"cannot read engine {path} ({error.strerror})") from error
        if len(plan) != manifest.bytes:
            raise EngineError(
                f"engine {path} is damaged: it has {len(plan)} bytes, its manifest says "
                f"{manifest.bytes}"
            )
        found = hashlib.sha256(plan).hexdigest()
        if found != manifest.sha256:
            raise EngineError(
                f"engine {path} is damaged: its SHA-256 is {found[:12]}…, its manifest says "
                f"{manifest.sha256[:12]}…"
            )
        return plan

    def whole(self, manifest: EngineManifest) -> bool:
        """Whether a plan is there and undamaged."""
        try:
            self.read(manifest)
        except EngineError:
            return False
        return True

    @contextlib.contextmanager
    def lock(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the folder, making it first; ``waiting`` is called once if another process does.

        The system frees a killed process's lock. Raises EngineError if the folder is read-only.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                waiting()
                lock.acquire()
        try:
            self._tidy()
            yield
        finally:
            lock.release()

    def store(self, manifest: EngineManifest, plan: bytes) -> None:
        """Keep an engine; the lock must be held. A plan it replaces goes last."""
        path = self._path(manifest.identity)
        with self._writing():
            write_whole(self.folder / manifest.plan, plan)
            write_whole(path, msgspec.json.format(msgspec.json.encode(manifest)))
            self._tidy()

    def clean(self) -> int:
        """Remove every engine of the folder; the lock must be held. Returns how many."""
        found = self.manifests()
        with self._writing():
            for path, _ in found:
                path.unlink(missing_ok=True)
            self._tidy()
        return len(found)

    def _path(self, identity: Identity) -> Path:
        return self.folder / f"{identity.network}-{identity.key}.json"

    def _tidy(self) -> None:
        """Remove what broken-off builds left, and plans that no manifest names."""
        found = self.manifests()
        named = {m.plan for _, m in found if isinstance(m, EngineManifest)}
        named |= {f"{Path(plan).stem}.kernels" for plan in named}
        # A manifest that cannot be read may name any plan of its key.
        unread = [path.stem for path, m in found if isinstance(m, EngineError)]
        for path in self.folder.iterdir():
            spare = _OURS.fullmatch(path.name) and path.name not in named
            if spare and not path.name.startswith(tuple(unread) or "\0"):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise EngineError(
                    f"the disk with {self.folder} is full; free some space or choose another "
                    "folder with --out"
                ) from error
            raise EngineError(
                f"cannot write to {self.folder} ({error.strerror}); choose another folder with "
                "--out"
            ) from error


def _manifest(path: Path) -> EngineManifest | EngineError:
    try:
        return read_manifest(path)
    except EngineError as error:
        return error
