"""Pictures from disk as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgepose.errors import SourceError
from edgepose.picture import decode_picture
from edgepose.sources.source import Source
from edgepose.types import Image


class PictureSource(Source):
    """One picture or many, each at its own size, EXIF rotation applied.

    A picture that cannot be read is left out and reported once all the others have been read.
    """

    continuous = False

    def __init__(self, name: str, files: list[Path]) -> None:
        """Take ``files`` in their order; SourceError when not one of them can be read."""
        self.name = name
        self.path = Path(name)
        self.length = len(files)
        self._files = files
        self._bad: list[str] = []
        for start, file in enumerate(files):
            image = read_picture(file)
            if image is not None:
                self._start, self._first = start, image
                self.height, self.width = image.shape[:2]
                return
            self._bad.append(file.name)
        raise self._unreadable()

    def __iter__(self) -> Iterator[tuple[int, float, Image]]:
        yield self._start, float(self._start), self._first
        for index in range(self._start + 1, len(self._files)):
            image = read_picture(self._files[index])
            if image is None:
                self._bad.append(self._files[index].name)
            else:
                # Pictures have no clock: one second each keeps time and index in step.
                yield index, float(index), image
        if self._bad:
            raise self._unreadable()

    def frame_name(self, index: int) -> str:
        """The file name of picture ``index``."""
        return self._files[index].name

    def close(self) -> None:
        """Nothing is held open."""

    def _unreadable(self) -> SourceError:
        bad, all_ = len(self._bad), len(self._files)
        if all_ == 1:
            return SourceError(
                f"The picture '{self.name}' cannot be read: it is damaged or not a picture; "
                "replace it."
            )
        listed = ", ".join(self._bad[:3]) + (", …" if bad > 3 else "")
        return SourceError(
            f"{bad} of {all_} pictures in '{self.name}' cannot be read ({listed}); "
            "replace or remove them."
        )


def read_picture(file: Path) -> Image | None:
    """Decode ``file`` to (H, W, 3) uint8 BGR; None where it cannot be read as a picture."""
    try:
        return decode_picture(file.read_bytes())
    except OSError:
        return None
