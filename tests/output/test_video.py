import subprocess
import sys

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output.video import VideoFile, VideoWriter
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo


def grey(level, size=(64, 48)):
    return np.full((size[1], size[0], 3), level, np.uint8)


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            fps = capture.get(cv2.CAP_PROP_FPS)
            capture.release()
            return frames, fps
        frames.append(frame)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".m4v"])
def test_every_frame_at_the_right_rate(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    writer = VideoWriter(path, (64, 48), 25.0)
    for i in range(10):
        writer.write(grey(20 * i), i / 25)
    writer.close()
    writer.close()
    frames, fps = read(path)
    assert fps == pytest.approx(25)
    np.testing.assert_allclose([f.mean() for f in frames], 20 * np.arange(10), atol=4)


def test_odd_sides_and_unknown_rate(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", (63, 47), None)
    writer.write(grey(100, (63, 47)), 0)
    writer.close()
    frames, fps = read(tmp_path / "out.mp4")
    assert frames[0].shape == (46, 62, 3)
    assert fps == pytest.approx(30, rel=1e-4)


@pytest.mark.parametrize("size", [(200, 20), (20, 200), (640, 480), (1, 1)])
def test_pictures_of_another_size_are_fitted_in(tmp_path, size):
    writer = VideoWriter(tmp_path / "out.avi", (64, 48), 10.0)
    writer.write(grey(200, size), 0)
    writer.close()
    frame = read(tmp_path / "out.avi")[0][0].astype(int)
    assert frame.shape == (48, 64, 3)
    assert frame[24, 32].mean() == pytest.approx(200, abs=6)
    if size[0] > 2 * size[1]:
        assert frame[:16].mean() < 6
        assert frame[-16:].mean() < 6
    if size[1] > 2 * size[0]:
        assert frame[:, :20].mean() < 6


def test_the_clock_fills_what_a_live_source_dropped(tmp_path):
    writer = VideoWriter(tmp_path / "out.avi", (64, 48), 10.0, clock=True)
    for level, time in [(0, 5.0), (50, 5.1), (100, 5.12), (150, 5.5), (200, 5.6)]:
        writer.write(grey(level), time)
    writer.close()
    levels = [f.mean() for f in read(tmp_path / "out.avi")[0]]
    # 5.12 falls on the place of 5.1; 5.2 to 5.4 show what came before.
    np.testing.assert_allclose(levels, [0, 50, 50, 50, 50, 150, 200], atol=4)


def test_where_no_video_can_be(tmp_path):
    with pytest.raises(OutputError, match=r"end its name in one of \.mp4"):
        VideoFile(str(tmp_path / "out.txt"))
    with pytest.raises(OutputError, match="no folder"):
        VideoFile(str(tmp_path / "missing" / "out.mp4"))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        VideoFile(str(tmp_path / "folder.mp4"))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.mp4"]


def test_a_file_for_each_source(tmp_path):
    sink = VideoFile(str(tmp_path / "out.mkv"))
    sources = (SourceInfo("a", 64, 48, 10.0), SourceInfo("b", 32, 32, 10.0))
    sink.start(RunInfo("b", "onnxruntime", COCO17, sources))
    for i in range(4):
        sink.write(Result(i, i / 10, grey(10, (64, 48)), [], source=0))
        sink.write(Result(i, i / 10, grey(200, (32, 32)), [], source=1))
    sink.close()
    first, second = (read(tmp_path / f"out.{n}.mkv")[0] for n in (0, 1))
    assert [f.shape for f in first] == 4 * [(48, 64, 3)]
    assert [f.shape for f in second] == 4 * [(32, 32, 3)]
    assert second[0].mean() > 150


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_killed_writer_leaves_a_video_that_opens(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    code = (
        "import os, sys, numpy as np; from pathlib import Path\n"
        "from edgepose.output.video import VideoWriter\n"
        "frames = np.random.default_rng(0).integers(0, 255, (60, 240, 320, 3), np.uint8)\n"
        "writer = VideoWriter(Path(sys.argv[1]), (320, 240), 30.0)\n"
        "for i, frame in enumerate(frames): writer.write(frame, i / 30)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert 30 <= len(read(path)[0]) <= 60
