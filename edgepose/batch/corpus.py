"""What a corpus holds, cut into shards: pieces whose results do not depend on each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from edgepose.errors import SourceError
from edgepose.sources.open import open_source
from edgepose.sources.pictures import PictureSource, is_picture
from edgepose.sources.source import Source
from edgepose.sources.tar import TarSource, tar_pictures

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts"})


@dataclass(frozen=True)
class Shard:
    """One piece of work: a whole video, as persons are followed in it, or a range of pictures.

    ``name`` is the path of its results below the output folder, less the suffix. ``start`` and
    ``stop`` count the pictures of a folder or tar; a video is taken whole.
    """

    name: str
    kind: Literal["video", "folder", "tar"]
    path: str
    start: int = 0
    stop: int = 0

    def open(self) -> Source:
        """Its frames, with the numbers that they have in the whole. Raises SourceError."""
        path = Path(self.path)
        if self.kind == "video":
            return open_source(path)
        chosen = slice(self.start, self.stop)
        if self.kind == "tar":
            return TarSource(self.path, path, tar_pictures(path)[chosen], self.start)
        return PictureSource(self.path, folder_pictures(path)[chosen], self.start)


def folder_pictures(folder: Path) -> list[PurePath]:
    """Pictures of a folder, those of its subfolders left out, in the order of their names."""
    return [p for p in sorted(folder.iterdir()) if is_picture(p) and p.is_file()]


def find_shards(corpus: Path, pictures: int) -> tuple[list[Shard], list[str]]:
    """All shards below ``corpus``, a folder, a tar or a video, in the order of their names.

    ``pictures``: of a shard at most. The second value says what cannot be read. SourceError if
    there is no such folder or file, or nothing in it.
    """
    if not corpus.exists():
        raise SourceError(f"There is no file or folder '{corpus}'; check the path.")
    found: list[Shard] = []
    faults: list[str] = []
    root = corpus if corpus.is_dir() else corpus.parent
    files = [corpus] if corpus.is_file() else sorted(p for p in corpus.rglob("*") if p.is_file())
    folders: list[Path] = []
    for file in files:
        name = file.relative_to(root).as_posix()
        if file.name[0] == ".":
            continue
        if file.suffix.lower() in VIDEOS:
            found.append(Shard(name, "video", str(file)))
        elif file.suffix.lower() == ".tar":
            try:
                found += _ranges(name, "tar", file, len(tar_pictures(file)), pictures)
            except SourceError as error:
                faults.append(str(error))
        elif is_picture(file) and file.parent not in folders and corpus.is_dir():
            folders.append(file.parent)
            below = (file.parent.relative_to(root) / "pictures").as_posix()
            count = len(folder_pictures(file.parent))
            found += _ranges(below, "folder", file.parent, count, pictures)
    if not found and not faults:
        raise SourceError(f"'{corpus}' holds no videos, pictures or tars of pictures; check it.")
    return found, faults


def _ranges(
    name: str, kind: Literal["folder", "tar"], path: Path, count: int, most: int
) -> list[Shard]:
    return [
        Shard(f"{name}.{start:07}", kind, str(path), start, min(start + most, count))
        for start in range(0, count, most)
    ]
