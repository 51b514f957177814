"""One syntax for every source: what is matched, explained, hidden, adapted."""

import itertools
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.backends import open_backend
from edgepose.backends.host_device import HostDeviceBackend
from edgepose.cuda.host import HostDevice
from edgepose.cuda.pool import PinnedPool, lent_by
from edgepose.errors import SourceError
from edgepose.nv12 import NV12, as_bgr
from edgepose.sources import cameras
from edgepose.sources.cameras import list_cameras
from edgepose.sources.gstreamer import csi_pipeline
from edgepose.sources.open import KINDS, Kind, explain_source, open_source
from edgepose.sources.source import SourceOptions, redact
from tests.conftest import write_clip
from tests.rtsp import pictures_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://cam/live?user=admin&password=hunter2&ch=1", "rtsp://cam/live?user=…&password=…&ch=1"),
        ("gst:rtspsrc location=rtsp://a:hunter2@cam/1 user-pw=hunter2 ! decodebin",
         "gst:rtspsrc location=rtsp://cam/1 user-pw=… ! decodebin"),
        ('gst:souphttpsrc user-pw="hunter2 x" ! x', "gst:souphttpsrc user-pw=… ! x"),
        ("https://cam/mjpg?token=hunter2", "https://cam/mjpg?token=…"),
        ("clip.mp4", "clip.mp4"),
    ],
)  # fmt: skip
def test_no_password_is_shown(text, shown):
    assert redact(text) == shown
    if "://" in text or text.startswith("gst:"):
        assert "hunter2" not in explain_source(text)


@pytest.mark.parametrize(
    ("spec", "form"),
    [
        (0, "0"),
        ("3", "0"),
        ("/dev/video2", "/dev/video0"),
        ("csi://1", "csi://0"),
        ("gst:videotestsrc", "gst:PIPELINE"),
        ("tcp://10.0.0.7:5000", "rtsp://…"),
        ("sample", "sample"),
        ("test:2", "test"),
        ("screen", "screen"),
        ("shots/*.jpg", "'shots/*.jpg'"),
    ],
)
def test_what_is_read_as_what(spec, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = next(k for k in KINDS if k.form == form)
    said = explain_source(spec)
    assert f"read as {form}," in said if kind.explain is None else " ! " in said


def test_the_pipeline_of_a_csi_camera():
    asked = SourceOptions(size=(1920, 1080), fps=60)
    jetson = csi_pipeline("csi://1", asked, tegra=True)
    assert jetson.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),format=NV12,")
    assert "width=1920,height=1080,framerate=60000/1000" in jetson
    assert jetson.endswith("appsink name=edgepose max-buffers=1 drop=true sync=false")
    assert csi_pipeline("csi://0", asked, tegra=False).startswith("libcamerasrc camera-index=0")
    with pytest.raises(SourceError, match="names no CSI camera"):
        explain_source("csi://front")


def test_what_exists_wins_over_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.avi").rename("test")
    with open_source("test") as source:
        assert source.length == 30


def test_a_glob_of_pictures(tmp_path):
    for name in ("b1", "b0", "c0"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    with open_source(str(tmp_path / "b*.png")) as source:
        assert [f.name for f in source] == ["b0.png", "b1.png"]
    with pytest.raises(SourceError, match="No picture has a name like"):
        open_source(str(tmp_path / "x*.png"))


def test_a_new_source_is_one_file_and_one_line(tmp_path, monkeypatch):
    """The file is written here; the line is the one that joins the table."""
    (tmp_path / "noise.py").write_text(
        "import time, numpy as np\n"
        "from edgepose.sources.source import Source\n"
        "from edgepose.types import Frame\n"
        "class Noise(Source):\n"
        "    width, height, length = 64, 48, 3\n"
        "    def __init__(self, text, options):\n"
        "        self.name = text\n"
        "    def __iter__(self):\n"
        "        rng = np.random.default_rng(0)\n"
        "        for i in range(3):\n"
        "            image = rng.integers(0, 255, (48, 64, 3), np.uint8)\n"
        "            yield Frame(image, i, i / 30, time.perf_counter(), self.number)\n"
        "    def close(self): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "edgepose.sources.open.KINDS", [*KINDS, Kind("noise", "noise".__eq__, "noise:Noise")]
    )
    with open_source("noise", number=3) as source:
        assert [(f.index, f.source) for f in source] == [(0, 3), (1, 3), (2, 3)]
    assert [r.index for r in edgepose.stream("noise")] == [0, 1, 2]


def taken(clip, count=None, **options):
    with open_source(clip, SourceOptions(**options)) as source:
        return source.info, list(itertools.islice(source, count))


def test_size_and_rotation(clip):
    info, frames = taken(clip, size=(80, 60), rotate=90)
    assert (info.width, info.height, info.length) == (60, 80, 30)
    assert {f.image.shape for f in frames} == {(80, 60, 3)}
    np.testing.assert_allclose([f.image.mean() for f in frames], 5 * np.arange(30), atol=3)
    with pytest.raises(SourceError, match="give 90, 180 or 270"):
        open_source(clip, SourceOptions(rotate=45))


def test_turning_is_clockwise(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:20, :20] = 255  # top left
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    for rotate, corner in ((90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))):
        _, (frame,) = taken(tmp_path / "a.png", rotate=rotate)
        assert frame.image[corner].min() == 255, rotate


def test_a_lower_rate_thins_out_by_time(clip):
    info, frames = taken(clip, fps=10)
    assert info.fps == 10
    np.testing.assert_allclose([f.time for f in frames], np.arange(10) / 10, atol=0.01)
    assert [f.index for f in frames] == list(range(10))


def test_a_loop_goes_on_in_time_and_number(clip):
    info, frames = taken(clip, 75, loop=True)
    assert info.length is None
    assert [f.index for f in frames] == list(range(75))
    np.testing.assert_allclose(np.diff([f.time for f in frames]), 1 / 30, atol=1e-6)
    np.testing.assert_allclose(frames[35].image, frames[5].image)


def test_a_file_played_as_live_keeps_its_own_time(clip):
    begun = time.perf_counter()
    info, frames = taken(clip, 12, live=True)
    assert info.live
    assert time.perf_counter() - begun > 11 / 30
    # A busy machine may play it slower, never faster.
    assert (np.diff([f.captured for f in frames]) > 1 / 30 - 1e-6).all()


def test_the_made_up_figure_walks_and_is_found():
    with open_source("test", SourceOptions(size=(320, 240), fps=100)) as source:
        assert source.live
        frames = list(itertools.islice(source, 3))
        assert (source.width, source.height, source.fps) == (320, 240, 100)
    assert frames[0].image.shape == (240, 320, 3)
    assert (np.diff([f.time for f in frames]) > 0).all()
    with open_source("test:2") as source:
        picture = source.image(5.5)
    boxes = edgepose.load_detector()(picture)
    assert len(boxes) == 2
    # Where the figures stand: their feet are at these fractions of the picture.
    np.testing.assert_allclose(boxes[:, 3] / 480, 0.9, atol=0.08)


def gstreamer(monkeypatch, tmp_path):
    """The system's PyGObject, lent to this interpreter; skips where there is none that fits."""
    home = Path("/usr/lib/python3/dist-packages/gi")
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    if not list(home.glob(f"_gi.cpython-{version}-*.so")):
        pytest.skip(f"no PyGObject for Python {version}: apt install python3-gi")
    if "gi" not in sys.modules:
        (tmp_path / "gi").symlink_to(home)
        monkeypatch.syspath_prepend(tmp_path)
    pytest.importorskip("gi")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
def test_a_gstreamer_pipeline(monkeypatch, tmp_path):
    gstreamer(monkeypatch, tmp_path)
    size = "video/x-raw,width=322,height=240,framerate=50/1"
    white = f"gst:videotestsrc num-buffers=6 pattern=white ! {size}"
    with open_source(white) as source:
        assert (source.width, source.height, source.fps, source.live) == (322, 240, 50.0, True)
        frames = list(source)
    assert 1 <= len(frames) <= 6  # the newest frame counts
    assert frames[0].image.shape == (240, 322, 3)
    assert as_bgr(frames[0].image).min() > 250
    with pytest.raises(SourceError, match="is no pipeline"):
        open_source("gst:nosuchelement ! fakesink")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source("gst:filesrc location=/nonexistent ! decodebin")
    with pytest.raises(SourceError, match="names no pipeline"):
        open_source("gst:")


def first_of(pipeline):
    with open_source(f"gst:videotestsrc num-buffers=2 pattern=smpte ! {pipeline}") as source:
        return next(iter(source)).image


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
@pytest.mark.parametrize("standard", ["bt601", "bt709"])
def test_nv12_stays_nv12(monkeypatch, tmp_path, standard):
    """At a width whose rows GStreamer pads; its own conversion says what colours are meant."""
    gstreamer(monkeypatch, tmp_path)
    size = "width=322,height=240,framerate=50/1"
    given = f"video/x-raw,format=NV12,colorimetry={standard},{size}"
    frame = first_of(given)
    assert isinstance(frame, NV12)
    assert (frame.standard, frame.shape, frame.y.shape) == (standard, (240, 322, 3), (240, 322))
    assert frame.uv.shape == (120, 161, 2)
    meant = first_of(f"{given} ! videoconvert ! video/x-raw,format=BGR")
    assert isinstance(meant, np.ndarray)
    # The chroma of the bars' edges and of the noise is spread in more than one way, and GStreamer
    # makes white 253.
    error = np.abs(frame.bgr.astype(int) - meant)[:150]
    assert np.percentile(error, 95) <= 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
@pytest.mark.parametrize("form", ["NV12,colorimetry=bt601", "BGR"])
def test_gstreamer_frames_in_lent_memory(monkeypatch, tmp_path, form):
    """At a width whose rows GStreamer pads; the copy out of its buffer is the only one."""
    gstreamer(monkeypatch, tmp_path)
    caps = f"video/x-raw,format={form},width=322,height=240,framerate=50/1"
    device = HostDevice()
    with open_source(f"gst:videotestsrc pattern=smpte75 ! {caps}") as source:
        source.pool = PinnedPool(device)
        first, *later = (frame.image for frame in itertools.islice(source, 4))
    for image in later:
        for plane, own in zip(planes(image), planes(first), strict=True):
            assert lent_by(device, plane)
            assert plane.shape == own.shape
            # Below the bars is noise.
            rows = slice(0, len(plane) * 6 // 10)
            assert np.array_equal(plane[rows], own[rows])


def planes(image):
    return (image.y, image.uv) if isinstance(image, NV12) else (image,)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
def test_what_is_not_nv12_of_the_kernels(monkeypatch, tmp_path):
    """Full range, odd sides and RGB come as BGR."""
    gstreamer(monkeypatch, tmp_path)
    full = "format=NV12,colorimetry=1:4:0:0,width=64"
    for caps in (full, "format=NV12,width=65", "format=BGRx,width=64"):
        frame = first_of(f"video/x-raw,{caps},height=48")
        assert isinstance(frame, np.ndarray), caps
        assert frame[:20, :6].min() > 170  # the first bar is white


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
def test_poses_of_nv12_frames(monkeypatch, tmp_path, sample):
    """The networks and whoever looks at the result are given BGR."""
    gstreamer(monkeypatch, tmp_path)
    pictures = pictures_of(sample, tmp_path / "shots", (360, 640), count=1)
    pipeline = f'gst:multifilesrc location="{pictures}" loop=true caps="image/jpeg,framerate=10/1"'
    nv12 = "videoconvert ! video/x-raw,format=NV12,colorimetry=bt601"
    results = list(edgepose.stream(f"{pipeline} ! jpegdec ! {nv12}", max_frames=6, detect_every=1))
    assert isinstance(results[-1].image, NV12)
    assert len(results[-1].people) >= 1
    with open_source(
        f"{pipeline} ! jpegdec ! {nv12} ! videoconvert ! video/x-raw,format=BGR"
    ) as own:
        meant = next(iter(own)).image
    error = np.abs(results[-1].frame.astype(int) - meant)
    assert np.percentile(error, 95) <= 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
def test_nv12_frames_through_the_device_cascade(monkeypatch, tmp_path, sample):
    """From GStreamer's buffer to the persons with both networks on a device: nobody makes BGR."""
    gstreamer(monkeypatch, tmp_path)
    pictures = pictures_of(sample, tmp_path / "shots", (360, 640), count=1)
    pipeline = (
        f'gst:multifilesrc location="{pictures}" loop=true caps="image/jpeg,framerate=10/1" ! '
        "jpegdec ! videoconvert ! video/x-raw,format=NV12,colorimetry=bt601"
    )
    device = HostDevice()
    backend = HostDeviceBackend(device, open_backend("onnxruntime", 1))
    options = {"max_frames": 6, "detect_every": 1, "smooth": False}
    there = list(edgepose.stream(pipeline, backend=backend, **options))[-1]
    assert isinstance(there.image, NV12)
    assert lent_by(device, there.image.y)
    assert there.image._bgr is None
    here = list(edgepose.stream(pipeline, backend="onnxruntime", **options))[-1]
    assert len(there.people) == len(here.people) >= 1
    for a, b in zip(there.people, here.people, strict=True):
        # The kernels convert only the pixels of a crop, and interpolate chroma with it: a joint
        # that nobody is sure of may go elsewhere.
        assert np.percentile(np.linalg.norm(a.joints - b.joints, axis=1), 75) < 3


@pytest.fixture
def screen(monkeypatch):
    """An X server of its own, 320 x 200."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no X server: apt install xvfb")
    pytest.importorskip("mss")
    read, write = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(write),
        "-screen",
        "0",
        "320x200x24",
        "-noreset",
        "-nolisten",
        "tcp",
    ]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as told:
            monkeypatch.setenv("DISPLAY", f":{told.readline().strip()}")
        yield
        server.kill()


def test_the_screen(screen):
    with open_source("screen", SourceOptions(fps=50)) as source:
        assert (source.width, source.height, source.live) == (320, 200, True)
        frames = list(itertools.islice(source, 3))
    assert frames[0].image.shape == (200, 320, 3)
    with pytest.raises(SourceError, match="no monitor 7"):
        open_source("screen:7")


def test_no_screen(monkeypatch):
    pytest.importorskip("mss")
    monkeypatch.setenv("DISPLAY", ":7777")
    with pytest.raises(SourceError, match="no screen to read"):
        open_source("screen")


def test_listing_cameras(monkeypatch, tmp_path):
    """Video4Linux's answers, played: a camera, its metadata, a plain file."""
    for n in (10, 2, 3):
        (tmp_path / f"video{n}").write_bytes(b"")
    (tmp_path / "videodriver").write_bytes(b"")
    answers = {
        "video2": (b"HD Webcam", 0x84A00001, 0x04200001),
        "video3": (b"HD Webcam", 0x84A00001, 0x04A00000),
    }

    def ioctl(fd, request, _):
        assert request == 0x80685600
        name = Path(os.readlink(f"/proc/self/fd/{fd}")).name
        if name not in answers:
            raise OSError(25, "Inappropriate ioctl for device")
        card, all_, own = answers[name]
        return struct.pack("16s32s32sIII12x", b"uvcvideo", card, b"usb-1", 6, all_, own)

    monkeypatch.setattr(cameras.fcntl, "ioctl", ioctl)
    (found,) = list_cameras(tmp_path)
    assert (found.source, found.name, found.problem) == (str(tmp_path / "video2"), "HD Webcam", "")


def test_a_stream_over_tcp(tmp_path):
    """What many encoders send: MPEG-TS over a bare connection."""
    path = tmp_path / "clip.ts"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30, (64, 48)
    )
    for i in range(60):
        writer.write(np.full((48, 64, 3), 4 * i, np.uint8))
    writer.release()
    code = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept(); c.sendall(open(sys.argv[1], 'rb').read()); c.close()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        port = int(sender.stdout.readline())
        with open_source(f"tcp://127.0.0.1:{port}") as source:
            assert source.live
            shapes = []
            with pytest.raises(SourceError, match="ended after"):
                shapes.extend(frame.image.shape for frame in source)
    assert len(shapes) >= 30
    assert set(shapes) == {(48, 64, 3)}
