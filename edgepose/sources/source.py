"""What every source of frames has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from edgepose.types import Image


class Source(ABC):
    """A camera, video, picture or folder of pictures that has been opened and has a first frame.

    Iterating gives (index, seconds from the start, (H, W, 3) uint8 BGR frame) once. ``width`` and
    ``height`` are those of the first frame as it is shown, rotation applied. ``fps`` and ``length``
    are None where nobody knows. ``live`` sources do not wait for a slow reader; ``continuous``
    sources show the same scene from frame to frame, pictures do not.

    Iterating raises :class:`~edgepose.errors.SourceError` when the source ends before it should;
    every frame that could be read comes first.
    """

    name: str
    path: Path | None = None
    width: int
    height: int
    fps: float | None = None
    length: int | None = None
    live: bool = False
    continuous: bool = True

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[int, float, Image]]: ...

    def frame_name(self, index: int) -> str | None:
        """The file name of frame ``index`` where every frame is a file, else None."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let the device or file go. Call it from the thread that reads, or after it has ended."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
