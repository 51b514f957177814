"""For long runs: the program as a process, what Linux says of it, and clips that play slowly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import cv2

CLIP = Path(str(resources.files("edgepose") / "assets" / "sample.mp4"))
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Held(NamedTuple):
    """Bytes of memory, and the number of descriptors and threads."""

    memory: int
    descriptors: int
    threads: int


def held(pid: int) -> Held:
    """What process ``pid`` holds now."""
    home = Path(f"/proc/{pid}")
    pages = int((home / "statm").read_text().split()[1])
    return Held(
        pages * _PAGE, len(list((home / "fd").iterdir())), len(list((home / "task").iterdir()))
    )


def start(arguments: Sequence[object], log: Path) -> subprocess.Popen[bytes]:
    """``edgepose-run`` with ``--ages``; what it says goes to ``log``."""
    command = [sys.executable, "-m", "benchmarks.ages", *map(str, arguments)]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)


def retimed(path: Path, size: tuple[int, int], fps: float) -> Path:
    """The sample at ``path``, scaled to ``size`` (width, height) and played at ``fps``."""
    capture = cv2.VideoCapture(str(CLIP))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    while (frame := capture.read()[1]) is not None:
        writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    writer.release()
    capture.release()
    return path
