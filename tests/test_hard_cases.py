"""What goes wrong with sources and outputs in the field, each with its outcome."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.errors import OutputError, SourceError
from edgepose.output.jsonl import JsonLines
from edgepose.output.outputs import Outputs, Placed
from edgepose.output.video import VideoFile
from edgepose.skeleton import COCO17
from edgepose.sources.open import open_source
from edgepose.types import Result, RunInfo, SourceInfo
from tests.conftest import front_person, run_program, write_clip


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB; skips where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def noisy(count, live):
    """Frames that do not compress, of a run with one source."""
    frames = np.random.default_rng(0).integers(0, 255, (8, 240, 320, 3), np.uint8)
    person = front_person((10, 10, 150, 230))
    run = RunInfo("b", "x", COCO17, (SourceInfo("s", 320, 240, 30.0, live=live),))
    return run, (Result(i, i / 30, frames[i % 8], [person]) for i in range(count))


def whole_lines(path):
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def frames_in(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_a_disk_that_fills_up_ends_a_file_run_with_whole_outputs(small_disk):
    """The video stops while it can be finished, the lines go on; the run says so at its end."""
    video, lines = VideoFile(str(small_disk / "out.mp4")), JsonLines(str(small_disk / "p.jsonl"))
    outputs = Outputs((Placed("--out", video), Placed("--json", lines)))
    run, results = noisy(400, live=False)
    outputs.start(run)
    given = sum(outputs.write(r) for r in results)
    outputs.close()
    assert "no space left" in str(outputs.error)
    assert not outputs.workers[0].alive
    assert 10 < frames_in(small_disk / "out.mp4") < 400
    assert len(whole_lines(small_disk / "p.jsonl")) == given + 1


def test_a_live_run_goes_on_when_the_disk_has_room_again(small_disk, monkeypatch):
    """Lines are lost while it is full, none is torn, and none of it stops the run."""
    monkeypatch.setattr("edgepose.output.worker._FIRST_PAUSE", 0.05)
    filler, path = small_disk / "filler", small_disk / "p.jsonl"
    outputs = Outputs((Placed("--json", JsonLines(str(path))),))
    run, results = noisy(100_000, live=True)
    outputs.start(run)
    (worker,) = outputs.workers

    def write_until(done):
        deadline = time.monotonic() + 60
        while not done():
            assert outputs.write(next(results))
            assert time.monotonic() < deadline
            time.sleep(0.001)

    write_until(lambda: worker.written >= 20)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    write_until(lambda: worker.lost >= 5)
    filler.unlink()
    before = worker.written
    write_until(lambda: worker.written >= before + 20)
    outputs.close()
    indices = [line["frame"] for line in whole_lines(path)[1:]]
    assert indices == sorted(set(indices))
    assert len(indices) == worker.written
    assert "no space left" in str(outputs.error)


def test_damage_in_the_middle_of_a_file(tmp_path, sample):
    """What can be decoded is used, times go on, and nothing crashes."""
    data = bytearray(sample.read_bytes())
    rng = np.random.default_rng(3)
    middle = range(len(data) // 3, len(data) // 2)
    for at in rng.choice(middle, 300):
        data[at] = rng.integers(256)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    times: list[float] = []
    # Where frames are missing at the end, the source says so.
    with contextlib.suppress(SourceError), open_source(path) as source:
        times.extend(frame.time for frame in source)
    assert len(times) >= 30
    assert (np.diff(times) > 0).all()


def test_noise_in_place_of_a_stream(tmp_path):
    """A sender that speaks no video is refused with a sentence."""
    code = (
        "import socket, os; s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True); c, _ = s.accept()\n"
        "c.sendall(os.urandom(200_000)); c.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as noise:
        port = int(noise.stdout.readline())
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(f"tcp://127.0.0.1:{port}")
        noise.kill()


def test_a_video_of_one_frame(tmp_path, sample):
    """One result, and the run ends well."""
    path = tmp_path / "one.avi"
    with open_source("sample") as source:
        frame = next(iter(source)).image
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (1080, 1920))
    writer.write(frame)
    writer.release()
    (result,) = edgepose.stream(path)
    assert (result.index, result.frame.shape) == (0, (1920, 1080, 3))


@pytest.mark.parametrize("size", ["1080x1921", "333x641", "64x48", "2x2", "640x31"])
def test_portrait_odd_and_tiny_sizes(tmp_path, size):
    """Estimated, drawn and written at that size, sides rounded down to even in the video."""
    out, poses = tmp_path / "out.mkv", tmp_path / "p.jsonl"
    arguments = ["--max-frames", 2, "--size", size, "--out", out, "--json", poses]
    done = run_program("--source", "sample", *arguments)
    assert done.returncode == 0, done.stderr
    width, height = map(int, size.split("x"))
    header, *frames = whole_lines(poses)
    assert (header["width"], header["height"], len(frames)) == (width, height, 2)
    capture = cv2.VideoCapture(str(out))
    shape = capture.read()[1].shape
    capture.release()
    assert shape[:2] == (max(2, height & ~1), max(2, width & ~1))


def test_a_variable_frame_rate(tmp_path):
    """Every frame comes with the time that the file gives it."""
    path = tmp_path / "vfr.mkv"
    write_clip(path, frames=12)
    # In Matroska a block's time is two bytes behind its cluster's: move those of the later frames.
    data = bytearray(path.read_bytes())
    moved = 0
    for at in range(len(data) - 8):
        # SimpleBlock (0xA3), a size of up to four bytes, track 1, two bytes of time, flags.
        if data[at] != 0xA3:
            continue
        width = 9 - int(data[at + 1]).bit_length()
        head = at + 1 + width
        if not 1 <= width <= 4 or data[head] != 0x81 or data[head + 3] & 0x7F:
            continue
        time_ = int.from_bytes(data[head + 1 : head + 3], "big")
        if 200 <= time_ <= 400:
            data[head + 1 : head + 3] = (time_ + 500).to_bytes(2, "big")
            moved += 1
    assert moved >= 4
    path.write_bytes(data)
    with open_source(path) as source:
        frames = list(source)
    times = np.array([f.time for f in frames])
    assert len(frames) == 12
    assert (np.diff(times) > 0).all()
    assert np.diff(times).max() == pytest.approx(0.533, abs=0.01)


@pytest.mark.parametrize("persons", [0, 1, 3])
def test_nobody_one_and_several_persons(tmp_path, persons):
    """As many as there are."""
    from edgepose.sources.pattern import PatternSource
    from edgepose.sources.source import SourceOptions

    source = PatternSource(persons, SourceOptions(size=(960, 480)))
    picture = source.image(1.0)
    path = tmp_path / "people.png"
    cv2.imwrite(str(path), picture)
    (result,) = edgepose.stream(path)
    assert len(result.people) == persons


def test_a_path_that_is_unplugged(tmp_path):
    """The folder of an output goes away: told when the run starts."""
    with pytest.raises(OutputError, match="no folder"):
        JsonLines(str(tmp_path / "usb" / "p.jsonl"))
    assert Path(tmp_path).exists()
