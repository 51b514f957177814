"""What several test folders share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

# FFmpeg takes its log level from the process's first video, which may be one that a test makes.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
import pytest

from edgepose.bundle import Bundle
from edgepose.skeleton import COCO17
from edgepose.types import Person
from tests import sanitized

sanitized.load()

# Fractions of a box, (x, y), for the joints of a person who faces the camera.
_FRONT = {
    "nose": (0.0, 0.1),
    "eye": (0.03, 0.08),
    "ear": (0.06, 0.09),
    "shoulder": (0.15, 0.25),
    "elbow": (0.25, 0.38),
    "wrist": (0.3, 0.5),
    "hip": (0.1, 0.52),
    "knee": (0.11, 0.72),
    "ankle": (0.12, 0.9),
}


def front_pose(box) -> np.ndarray:
    """(17, 2) float32 COCO joints of a person who faces the camera in ``box``."""
    x0, y0, x1, y1 = box
    joints = []
    for name in COCO17.joints:
        x, y = _FRONT[name.removeprefix("left_").removeprefix("right_")]
        # The person's left is on the right of the picture.
        joints.append((0.5 + (-x if name.startswith("right_") else x), y))
    return (np.array(joints) * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32)


def front_person(box, id=1, score=0.9) -> Person:
    return Person(
        id,
        np.asarray(box, np.float32),
        score,
        front_pose(box),
        np.full(len(COCO17), score, np.float32),
    )


@pytest.fixture(scope="session", autouse=True)
def programs_hear_ctrl_c():
    """Also where a shell runs this suite in the background: what ignores SIGINT passes that on."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def sample() -> Path:
    """The clip that ships."""
    return Path(str(resources.files("edgepose") / "assets" / "sample.mp4"))


@pytest.fixture(scope="session")
def two_stages(tmp_path_factory) -> Bundle:
    """A bundle of two real stages, the second of random weights."""
    pytest.importorskip("torch", reason="no second stage: pip install 'edgepose[train]'")
    from tests.two_stages import write_two_stages

    return write_two_stages(tmp_path_factory.mktemp("two") / "bundle")


def write_clip(path: Path, frames: int = 30, size=(160, 120), fps: float = 30.0) -> Path:
    """A clip whose frame i has the grey level 5 i, so that a dropped one shows."""
    codec = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "mp4v"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((size[1], size[0], 3), 5 * i % 256, np.uint8))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path) -> Path:
    """30 small frames at 30 fps, frame i of the grey level 5 i."""
    return write_clip(tmp_path / "clip.avi")


def program(*arguments, **options) -> subprocess.Popen:
    """Start ``edgepose-run`` as a user does, with pipes for its output."""
    command = [sys.executable, "-m", "edgepose.cli.run", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "error"}
    del environment["OPENCV_FFMPEG_LOGLEVEL"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run_program(*arguments, timeout: float = 120, **options) -> subprocess.CompletedProcess:
    """Run ``edgepose-run`` to its end."""
    with program(*arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
