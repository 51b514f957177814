"""Pictures from disk as a source."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from edgepose.errors import SourceError
from edgepose.picture import decode_picture
from edgepose.sources.open import PICTURES
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Frame, Image


def open_picture(text: str, _: SourceOptions) -> Source:
    """One picture; SourceError if it may not be read or is damaged."""
    path = Path(text).expanduser()
    if not os.access(path, os.R_OK):
        raise SourceError(f"'{text}' may not be read; check the permissions of the file.")
    return PictureSource(text, [path])


def open_folder(text: str, _: SourceOptions) -> Source:
    """The pictures of a folder in the order of their names, hidden files left out."""
    folder = Path(text).expanduser()
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"The folder '{folder}' cannot be listed ({reason}).") from None
    found = _pictures(entries)
    if not found:
        raise SourceError(
            f"The folder '{folder}' holds no pictures; "
            f"give one with {', '.join(sorted(PICTURES))} files, or a video file."
        )
    return PictureSource(text, found)


def open_glob(text: str, _: SourceOptions) -> Source:
    """The pictures that a pattern names, in the order of their paths."""
    pattern = os.path.expanduser(text)
    found = _pictures([Path(p) for p in sorted(glob.glob(pattern, recursive=True))])
    if not found:
        raise SourceError(f"No picture has a name like '{text}'; check the pattern.")
    return PictureSource(text, found)


def _pictures(entries: list[Path]) -> list[Path]:
    return [p for p in entries if is_picture(p) and p.is_file()]


def is_picture(path: PurePath) -> bool:
    """Whether a name is that of a picture, and not hidden."""
    return path.suffix.lower() in PICTURES and path.name[0] != "."


class PictureSource(Source):
    """One picture or many, each at its own size, EXIF rotation applied.

    A picture that cannot be read is left out and reported once all the others have been read.
    """

    continuous = False

    def __init__(self, name: str, files: Sequence[PurePath], first: int = 0) -> None:
        """Take ``files`` in their order; SourceError when not one of them can be read.

        ``first`` is the index of the first one, where they are a part of a larger whole.
        """
        self.name = name
        self.path = Path(name)
        self.length = len(files)
        self._files, self._number = files, first
        self._bad: list[str] = []
        for start, file in enumerate(files):
            image = self._image(file)
            if image is not None:
                self._start, self._first = start, image
                self.height, self.width = image.shape[:2]
                return
            self._bad.append(file.name)
        raise self._unreadable()

    def __iter__(self) -> Iterator[Frame]:
        yield self._frame(self._start, self._first)
        for index in range(self._start + 1, len(self._files)):
            image = self._image(self._files[index])
            if image is None:
                self._bad.append(self._files[index].name)
            else:
                yield self._frame(index, image)
        if self._bad:
            raise self._unreadable()

    def _image(self, file: PurePath) -> Image | None:
        """(H, W, 3) uint8 BGR; None where it cannot be read as a picture."""
        try:
            return decode_picture(Path(file).read_bytes())
        except OSError:
            return None

    def _frame(self, index: int, image: Image) -> Frame:
        # Pictures have no clock: one second each keeps time and index in step.
        now, name, count = time.perf_counter(), self._files[index].name, self._number + index
        return Frame(image, count, float(count), now, self.number, name)

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
