import http.server
import struct
import threading

import cv2
import numpy as np
import pytest

from edgepose.errors import SourceError
from edgepose.sources.open import open_source
from tests.conftest import write_clip


def frames_of(source):
    """(frames, error): what a source gives, and the SourceError it ends with, if any."""
    frames = []
    try:
        frames.extend(source)
    except SourceError as error:
        return frames, error
    finally:
        source.close()
    return frames, None


def test_a_file_gives_every_frame_in_order_with_its_time(clip):
    source = open_source(clip)
    assert (source.width, source.height, source.fps, source.length) == (160, 120, 30.0, 30)
    assert source.continuous
    assert not source.live
    frames, error = frames_of(source)
    assert error is None
    assert [f.index for f in frames] == list(range(30))
    np.testing.assert_allclose([f.time for f in frames], np.arange(30) / 30, atol=1e-6)
    np.testing.assert_allclose([f.image.mean() for f in frames], 5 * np.arange(30), atol=3)
    assert frames[0].image.dtype == np.uint8


def test_the_sample_ships(sample):
    source = open_source("sample")
    assert source.name == "sample"
    assert (source.width, source.height, source.fps, source.length) == (1080, 1920, 60.0, 100)
    source.close()


def test_a_clip_is_turned_as_its_file_says(tmp_path):
    path = write_clip(tmp_path / "turned.mp4", frames=3)
    data = path.read_bytes()
    # The track header's matrix: a quarter turn in place of the identity.
    one, two = 1 << 16, 1 << 30
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, two)
    quarter = struct.pack(">9i", 0, one, 0, -one, 0, 0, 120 << 16, 0, two)
    at = data.index(upright, data.index(b"tkhd"))
    path.write_bytes(data[:at] + quarter + data[at + len(quarter) :])
    source = open_source(path)
    assert (source.width, source.height) == (120, 160)
    frames, _ = frames_of(source)
    assert {f.image.shape for f in frames} == {(160, 120, 3)}


def test_a_clip_that_was_cut_short_gives_what_is_there_and_then_says_so(tmp_path):
    path = write_clip(tmp_path / "long.avi", frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, error = frames_of(open_source(path))
    assert 20 <= len(frames) <= 32
    assert error is not None
    assert f"{len(frames)} of 60 frames" in str(error)


@pytest.fixture
def folder(tmp_path):
    """Pictures of different sizes, a text file and a hidden file."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, (width, height) in enumerate([(60, 40), (40, 60), (80, 80)]):
        cv2.imwrite(str(folder / f"{'cab'[i]}.png"), np.full((height, width, 3), 10 * i, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_a_folder_is_read_by_name_each_picture_at_its_size(folder):
    source = open_source(folder)
    assert (source.length, source.width, source.height) == (3, 40, 60)
    assert not source.continuous
    frames, error = frames_of(source)
    assert error is None
    assert [f.name for f in frames] == ["a.png", "b.png", "c.png"]
    assert [f.image.shape[:2] for f in frames] == [(60, 40), (80, 80), (40, 60)]


def test_a_bad_picture_is_left_out_and_told_at_the_end(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    frames, error = frames_of(open_source(folder))
    assert [f.index for f in frames] == [0, 2]
    assert "1 of 3 pictures" in str(error)
    assert "b.png" in str(error)


def test_the_first_picture_may_be_the_bad_one(folder):
    (folder / "a.png").write_bytes(b"\x89PNG rubbish")
    source = open_source(folder)
    assert (source.width, source.height) == (80, 80)
    frames, error = frames_of(source)
    assert [f.index for f in frames] == [1, 2]
    assert "a.png" in str(error)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_that_was_cut_short_is_refused_not_filled_up(tmp_path, suffix, capfd):
    path = tmp_path / f"half{suffix}"
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(path)
    assert capfd.readouterr().err == ""


def test_a_single_picture(tmp_path):
    path = tmp_path / "one.jpg"
    cv2.imwrite(str(path), np.zeros((30, 50, 3), np.uint8))
    source = open_source(path)
    frames, error = frames_of(source)
    assert error is None
    assert [(f.index, f.time, f.image.shape) for f in frames] == [(0, 0.0, (30, 50, 3))]
    assert frames[0].name == "one.jpg"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.mp4", b"hello, this is a text file\n" * 400),
        ("empty.mp4", b""),
        ("noise.mp4", np.random.default_rng(1).bytes(50_000)),
        ("text.avi", b"RIFF\x00\x00\x00\x00AVI LIST"),
        ("noise.jpg", np.random.default_rng(2).bytes(5_000)),
        ("empty.png", b""),
    ],
)
def test_what_is_no_video_or_picture(tmp_path, name, content, capfd):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError) as error:
        open_source(path)
    assert str(path) in str(error.value)
    assert capfd.readouterr().err == ""


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="no file or folder"):
        open_source(tmp_path / "missing.mp4")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(empty)
    for camera in (97, "97"):
        with pytest.raises(SourceError, match="Camera 97 is not there"):
            open_source(camera)


def test_an_unread_half_is_no_error(clip):
    source = open_source(clip)
    for frame in source:
        if frame.index == 3:
            break
    source.close()


@pytest.fixture
def server(tmp_path):
    """A web server for the files in tmp_path."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *a, **k):
            super().__init__(*a, directory=str(tmp_path), **k)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_a_file_behind_a_url_is_no_live_source(tmp_path, server):
    write_clip(tmp_path / "clip.mkv")
    source = open_source(f"http://user:secret@{server}/clip.mkv")
    assert (source.width, source.height, source.length) == (160, 120, 30)
    assert not source.live
    assert source.name == f"http://{server}/clip.mkv"
    frames, error = frames_of(source)
    assert error is None
    assert len(frames) == 30


def test_a_url_that_does_not_answer(server, capfd):
    with pytest.raises(SourceError, match="cannot be read") as error:
        open_source(f"http://user:secret@{server}/missing.mp4")
    assert "secret" not in str(error.value)
    assert capfd.readouterr().err == ""


class FakeCapture:
    """OpenCV's capture of a camera that gives five frames and is unplugged."""

    opens, frames = True, 5

    def __init__(self, number, api):
        self.given = 0

    def isOpened(self):
        return self.opens

    def read(self, image=None):
        self.given += 1
        if self.given > self.frames:
            return False, None
        return True, np.full((48, 64, 3), self.given, np.uint8)

    def get(self, _):
        return 30.0

    def set(self, *_):
        return True

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("os.path.exists", lambda path: str(path).startswith("/dev/video"))
    return FakeCapture


@pytest.mark.parametrize("spec", [0, "0"])
def test_a_camera_is_live_and_tells_when_it_is_unplugged(camera, spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = open_source(spec)
    assert source.live
    assert source.length is None
    assert (source.name, source.width, source.height, source.fps) == ("camera 0", 64, 48, 30.0)
    frames, error = frames_of(source)
    assert [(f.index, f.image[0, 0, 0]) for f in frames] == [(i, i + 1) for i in range(5)]
    times = [f.time for f in frames]
    assert times == sorted(times)
    assert [f.captured for f in frames] == sorted(f.captured for f in frames)
    assert "stopped giving pictures" in str(error)


@pytest.mark.parametrize(
    ("opens", "frames", "says"), [(False, 5, "opened"), (True, 0, "no picture")]
)
def test_a_camera_that_is_busy(camera, monkeypatch, opens, frames, says):
    monkeypatch.setattr(camera, "opens", opens)
    monkeypatch.setattr(camera, "frames", frames)
    with pytest.raises(SourceError, match=says):
        open_source(0)
