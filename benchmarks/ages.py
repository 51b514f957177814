"""``edgepose-run`` with one more output: ``--ages FILE`` notes how old every frame is.

``python -m benchmarks.ages --source … --ages FILE``; :func:`read` gives the notes back.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgepose.output.open import KINDS, Kind
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo


class Ages(Sink):
    """Two numbers for every result: when it was there, and how long ago its frame was captured."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None

    @property
    def pixels(self) -> bool:
        """Never."""
        return False

    def start(self, run: RunInfo) -> None:
        """Make the file."""
        self._file = self.path.open("wb", buffering=0)

    def write(self, result: Result) -> bool:
        """Note one result."""
        now = time.perf_counter()
        assert self._file is not None
        self._file.write(np.array((now, now - result.captured), np.float64).tobytes())
        return True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read(path: Path) -> NDArray[np.float64]:
    """(n, 2) seconds: the clock when a result was there, and the frame's age then."""
    data = path.read_bytes()
    return np.frombuffer(data[: len(data) // 16 * 16], np.float64).reshape(-1, 2)


if __name__ == "__main__":
    KINDS["ages"] = Kind("benchmarks.ages:Ages", "FILE", "Note how old every frame is.")
    from edgepose.cli.run import main

    main()
