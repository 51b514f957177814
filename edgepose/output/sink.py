"""What every output has in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from edgepose.errors import OutputError
from edgepose.nv12 import NV12
from edgepose.types import Result, RunInfo


class Sink(Protocol):
    """One output of a run: started once, given every result in order, closed once.

    A sink never changes what it is given: others read the same frame. It is used by one thread at
    a time, and not always by the same one, unless the table of outputs says that it needs the main
    thread. Making a sink checks what can be checked and touches nothing, so that a run that cannot
    begin leaves older files as they are; OutputError says what is wrong.
    """

    path: Path | None = None
    """The file or folder it writes, where it does."""
    notice: str = ""
    """What the user should know once it has started, such as an address."""

    @property
    def pixels(self) -> bool:
        """Whether it wants the next frame's content; if not, it is given :func:`without_pixels`."""
        return True

    def start(self, run: RunInfo) -> None:
        """Make the file, open the window, …; OutputError if the system refuses."""

    def write(self, result: Result) -> bool:
        """Take one result; False when the user wants no more of it (a window was closed).

        OutputError when this result is lost; the next one is tried all the same. GoneError when
        none can be taken ever again.
        """
        ...

    def close(self) -> None:
        """Finish; OutputError when what was written is not complete. May be called again."""


class GoneError(OutputError):
    """Whoever read this output has gone: trying again is of no use."""


_NOTHING = np.zeros((1, 1, 1), np.uint8)


def without_pixels(result: Result) -> Result:
    """``result`` with a frame of the same shape that takes no memory, so that it may wait long."""
    return replace(result, image=np.broadcast_to(_NOTHING, result.image.shape))


def has_pixels(result: Result) -> bool:
    """Whether the frame of ``result`` has content."""
    return isinstance(result.image, NV12) or result.image.strides[0] != 0
