"""Pictures in a tar as a source; nothing is unpacked to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edgepose.errors import SourceError
from edgepose.picture import decode_picture
from edgepose.sources.pictures import PictureSource, is_picture
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Image

_MOST = 2**28  # bytes of one picture
# What reading the heads of a made-up tar ends in, besides the errors that it is meant to.
_HOSTILE = (ValueError, EOFError, OverflowError, RecursionError)


def open_tar(text: str, _: SourceOptions) -> Source:
    """The pictures of a tar in the order in which they lie there; SourceError if it holds none."""
    path = Path(text).expanduser()
    names = tar_pictures(path)
    if not names:
        raise SourceError(f"The tar '{path}' holds no pictures; give one that does.")
    return TarSource(text, path, names)


def tar_pictures(path: Path) -> list[PurePosixPath]:
    """Names of the pictures in a tar, in its order; links and what is no picture are left out.

    Raises SourceError if it is damaged or compressed: its members are read one by one.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            files = [PurePosixPath(m.name) for m in tar if m.isreg() and not m.issparse()]
    except (tarfile.TarError, OSError, *_HOSTILE) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(
            f"The tar '{path}' cannot be read ({reason}); give a whole one, not compressed."
        ) from None
    return [name for name in files if is_picture(name)]


class TarSource(PictureSource):
    """Pictures of a tar; of several members of one name the last one counts, as when unpacked."""

    def __init__(
        self, name: str, path: Path, files: Sequence[PurePosixPath], first: int = 0
    ) -> None:
        self._tar = tarfile.open(path, "r:")  # noqa: SIM115 - closed with the source
        try:
            super().__init__(name, files, first)
        except BaseException:
            self._tar.close()
            raise

    def _image(self, file: PurePosixPath) -> Image | None:  # type: ignore[override]
        try:
            member = self._tar.getmember(str(file))
            stream = self._tar.extractfile(member) if member.size <= _MOST else None
            return None if stream is None else decode_picture(stream.read())
        except (tarfile.TarError, OSError, KeyError, *_HOSTILE):
            return None

    def close(self) -> None:
        """Close the tar."""
        self._tar.close()
