import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output import check_writable
from edgepose.output.video import VideoWriter, check_video


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
    assert fps == pytest.approx(30)


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
        check_video(tmp_path / "out.txt")
    with pytest.raises(OutputError, match="no folder"):
        check_video(tmp_path / "missing" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        VideoWriter(tmp_path / "folder.mp4", (64, 48), 30)


def test_checking_touches_nothing(tmp_path):
    path = tmp_path / "out.mp4"
    check_writable(path)
    assert not path.exists()
    path.write_text("older")
    check_writable(path)
    assert path.read_text() == "older"
