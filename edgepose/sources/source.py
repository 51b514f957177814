"""What every source of frames has in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import SourceError
from edgepose.types import BufferPool, Frame, Image, SourceInfo


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the user wants of a source.

    ``size`` (width, height) and ``fps`` are asked of a camera; frames of what cannot give them are
    scaled, and thinned out by their times. ``rotate`` is clockwise: 0, 90, 180 or 270. ``size`` is
    that before turning. ``loop`` begins again at the end. ``live`` plays a file at its own speed,
    as a camera would.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    rotate: int = 0
    loop: bool = False
    live: bool = False


def parse_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT``, in pixels; SourceError with a sentence for anything else."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) * int(height)):
        raise SourceError(f"'{text}' is no size; give WIDTHxHEIGHT, such as 1280x720.")
    return int(width), int(height)


class Source(ABC):
    """A camera, video, picture or folder of pictures that has been opened and has a first frame.

    Iterating gives each :class:`~edgepose.types.Frame` once, numbered ``number`` in its run.
    ``width`` and ``height`` are those of the first frame as it is shown, rotation applied. ``fps``
    and ``length`` are None where nobody knows. ``live`` sources do not wait for a slow reader;
    ``continuous`` sources show the same scene from frame to frame, pictures do not. ``name`` is fit
    for printing: no passwords. ``pool`` lends memory for the pictures, where whoever reads them has
    some that suits it (a GPU's pinned memory, say); sources that are quick about it use it.

    Iterating raises :class:`~edgepose.errors.SourceError` when the source ends before it should;
    every frame that could be read comes first.
    """

    name: str
    number: int = 0
    path: Path | None = None
    width: int
    height: int
    fps: float | None = None
    length: int | None = None
    live: bool = False
    continuous: bool = True
    pool: BufferPool | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @abstractmethod
    def close(self) -> None:
        """Let the device or file go. Call it from the thread that reads, or after it has ended."""

    def _lent(self, shape: Sequence[int]) -> Image | None:
        """Memory of the pool for a picture, or for a plane of it; None: there is none."""
        return None if self.pool is None else self.pool.take(shape)

    @property
    def info(self) -> SourceInfo:
        """The same as plain data."""
        return SourceInfo(
            self.name,
            self.width,
            self.height,
            self.fps,
            self.length,
            self.live,
            self.continuous,
        )

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_USER = re.compile(r"(?<=://)[^/@\s\"']*@")
_SECRETS = re.compile(
    r"((?:^|[?&\s])[\w-]*(?:pass|pwd|pw|token|secret|auth|key|user)[\w-]*=)"
    r"(\"[^\"]*\"|'[^']*'|[^&\s]*)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text``, a URL or a pipeline, without user names, passwords and tokens."""
    return _SECRETS.sub(r"\1…", _USER.sub("", text))
