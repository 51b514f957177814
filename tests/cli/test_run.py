"""``edgepose-run`` as a user calls it: a process, its exit code, its words and its files."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import edgepose
import edgepose.errors
from tests.conftest import program, run_program, write_clip


def read_lines(path):
    """(header, frames); every line must be whole."""
    text = path.read_text()
    assert text.endswith("\n")
    header, *frames = (json.loads(line) for line in text.splitlines())
    return header, frames


def frames_in(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def check_frames(header, frames, width, height):
    for frame in frames:
        assert list(frame) == ["frame", "source", "t", "persons"]
        ids = [p["id"] for p in frame["persons"]]
        assert ids == sorted(set(ids))
        for person in frame["persons"]:
            assert list(person) == ["id", "box", "score", "joints"]
            x0, y0, x1, y1 = person["box"]
            assert x0 < x1
            assert y0 < y1
            assert 0 <= person["score"] <= 1
            joints = np.array(person["joints"])
            assert joints.shape == (len(header["joints"]), 3)
            assert np.isfinite(joints).all()
            assert ((joints[:, 2] >= 0) & (joints[:, 2] <= 1)).all()
            assert (np.abs(joints[:, :2]) < 4 * max(width, height)).all()


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """One run over the whole sample with both files: (process, video, JSON lines)."""
    folder = tmp_path_factory.mktemp("run")
    out, poses = folder / "overlay.mp4", folder / "poses.jsonl"
    done = run_program("--source", "sample", "--out", out, "--json", poses, timeout=300)
    return done, out, poses


def test_the_sample_ends_well(sample_run):
    done, _, _ = sample_run
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_it_says_what_it_runs_on_and_how_long_everything_took(sample_run):
    done, out, poses = sample_run
    cascade = edgepose.load()
    assert cascade.description in done.stdout
    assert "1080 x 1920, 60 fps, 100 frames" in done.stdout
    assert re.search(r"100 frames in [\d.]+ s, [\d.]+ FPS", done.stdout)
    stages = [f"stage {i}" for i in range(1, 1 + len(cascade.networks))]
    for row in ("decode", "detect", "crop", *stages, "output", "frame age"):
        assert re.search(rf"^{row} +[\d.]+ +[\d.]+ +[\d.]+ +\d+ *$", done.stdout, re.MULTILINE), row
    assert str(out) in done.stdout
    assert str(poses) in done.stdout


def test_the_walker_carries_one_id_through_the_sample(sample_run):
    header, frames = read_lines(sample_run[2])
    model = edgepose.load().bundle
    assert header == {
        "edgepose": 1,
        "bundle": model.name,
        "backend": "onnxruntime",
        "skeleton": model.skeleton.name,
        "joints": list(model.skeleton.joints),
        "source": "sample",
        "width": 1080,
        "height": 1920,
        "fps": 60.0,
        "sources": [{"source": "sample", "width": 1080, "height": 1920, "fps": 60.0}],
    }
    assert [f["frame"] for f in frames] == list(range(100))
    np.testing.assert_allclose([f["t"] for f in frames], np.arange(100) / 60, atol=1e-3)
    check_frames(header, frames, 1080, 1920)
    # The walker is the largest person by far.
    walker: dict[int, int] = {}
    for frame in frames:
        for person in frame["persons"]:
            x0, y0, x1, y1 = person["box"]
            if max(x1 - x0, y1 - y0) > 650:
                walker[person["id"]] = walker.get(person["id"], 0) + 1
    assert max(walker.values()) >= 95, walker


def test_another_run_gives_the_same_bytes(sample_run, tmp_path):
    poses = tmp_path / "poses.jsonl"
    done = run_program("--source", "sample", "--json", poses, "--max-frames", 25)
    assert done.returncode == 0, done.stderr
    # What comes later has no part in it, nor has who was faster.
    assert poses.read_bytes() == b"".join(sample_run[2].read_bytes().splitlines(True)[:26])


def test_the_overlay_has_every_frame_and_differs_from_the_clip(sample_run, sample):
    out = sample_run[1]
    assert frames_in(out) == 100
    drawn, plain = cv2.VideoCapture(str(out)), cv2.VideoCapture(str(sample))
    for capture in (drawn, plain):
        capture.set(cv2.CAP_PROP_POS_FRAMES, 50)
    a, b = drawn.read()[1].astype(int), plain.read()[1].astype(int)
    assert a.shape == b.shape
    changed = np.abs(a - b).max(-1) > 60
    assert 0.001 < changed.mean() < 0.1


def test_max_frames_and_stdout():
    done = run_program("--source", "sample", "--max-frames", 6, "--json", "-", "--no-smooth")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines[1:]] == list(range(6))
    assert "6 frames in" in done.stderr


def test_a_folder_of_pictures(tmp_path, sample):
    folder = tmp_path / "pictures"
    folder.mkdir()
    capture = cv2.VideoCapture(str(sample))
    frame = capture.read()[1]
    capture.release()
    cv2.imwrite(str(folder / "a.jpg"), frame)
    cv2.imwrite(str(folder / "b.jpg"), frame[200:1700])
    cv2.imwrite(str(folder / "c.png"), np.full((50, 400, 3), 90, np.uint8))
    (folder / "d.png").write_bytes(b"not a picture")
    out, poses = tmp_path / "out.mp4", tmp_path / "poses.jsonl"
    done = run_program("--source", folder, "--json", poses, "--out", out)
    # The bad one is told, the others are there.
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "1 of 4 pictures" in done.stderr
    assert "d.png" in done.stderr
    _, frames = read_lines(poses)
    assert [f["name"] for f in frames] == ["a.jpg", "b.jpg", "c.png"]
    assert frames[0]["persons"]
    assert frames[0]["persons"][0]["id"] == 1
    assert (frames[1]["width"], frames[1]["height"]) == (1080, 1500)
    assert frames_in(out) == 3


def test_a_clip_that_is_cut_short_keeps_what_was_read(tmp_path, sample):
    clip = tmp_path / "clip.avi"
    capture = cv2.VideoCapture(str(sample))
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30, (270, 480))
    for _ in range(40):
        writer.write(cv2.resize(capture.read()[1], (270, 480)))
    writer.release()
    capture.release()
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    out, poses = tmp_path / "out.mp4", tmp_path / "poses.jsonl"
    done = run_program("--source", clip, "--json", poses, "--out", out)
    assert done.returncode == 2
    assert re.fullmatch(r"edgepose-run: .*ends after \d+ of 40 frames.*\n", done.stderr)
    _, frames = read_lines(poses)
    assert 10 <= len(frames) < 40
    assert frames_in(out) == len(frames)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A source that is not done before the test is: a long clip of small frames."""
    return write_clip(tmp_path_factory.mktemp("long") / "long.avi", frames=4000, size=(64, 48))


def wait_for_lines(process, path, count):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"no {count} lines: {process.communicate()}")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_everything_complete(tmp_path, endless, sign):
    out, poses = tmp_path / "out.mp4", tmp_path / "poses.jsonl"
    with program("--source", endless, "--json", poses, "--out", out) as process:
        wait_for_lines(process, poses, 20)
        process.send_signal(sign)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "FPS" in stdout
    _, frames = read_lines(poses)
    assert 19 <= len(frames) < 4000
    assert frames_in(out) == len(frames)


def test_a_killed_run_leaves_whole_lines(tmp_path, endless):
    poses = tmp_path / "poses.jsonl"
    with program("--source", endless, "--json", poses) as process:
        wait_for_lines(process, poses, 30)
        process.kill()
        process.communicate(timeout=120)
    _, frames = read_lines(poses)
    assert [f["frame"] for f in frames] == list(range(len(frames)))


def sentence(done):
    """The one sentence of a run that ended with exit code 2."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert re.fullmatch(r"edgepose-run: [^\n]+[.!?)\w]\n", done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Neither --source nor --camera"),
        (("--source", "sample", "--policy", "newest"), "'newest' is no drop policy"),
        (("--source", "clip.avi", "--source", "missing.mp4"), "no file or folder 'missing.mp4'"),
        (("--source", "missing.mp4"), "no file or folder 'missing.mp4'"),
        (("--source", "text.mp4"), "'text.mp4' cannot be read as a video"),
        (("--source", "half.mp4"), "'half.mp4' cannot be read as a video"),
        (("--source", "empty"), "holds no pictures"),
        (("--camera", "97"), "Camera 97 is not there"),
        (("--source", "clip.avi", "--out", "nowhere/out.mp4"), "no folder 'nowhere'"),
        (("--source", "clip.avi", "--out", "empty"), "no video file"),
        (("--source", "clip.avi", "--json", "empty"), "it is a folder"),
        (("--source", "clip.avi", "--out", "x.avi", "--json", "./x.avi"), "give two paths"),
        (("--source", "clip.avi", "--out", "./clip.avi"), "would overwrite the source"),
        (("--source", "clip.avi", "--json", "link.jsonl"), "would overwrite the source"),
        (("--source", "clip.avi", "--show"), "leave out --show"),
        (("--source", "clip.avi", "--backend", "abacus"), "abacus"),
        (("--source", "clip.avi", "--bundle", "empty"), "empty"),
        (("--source", "clip.avi", "--no-build"), "--no-build go with --backend tensorrt"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, sample, arguments, says):
    write_clip(tmp_path / "clip.avi")
    (tmp_path / "link.jsonl").symlink_to("clip.avi")
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "half.mp4").write_bytes(sample.read_bytes()[:200_000])
    (tmp_path / "empty").mkdir()
    clip = (tmp_path / "clip.avi").read_bytes()
    older = tmp_path / "older.jsonl"
    older.write_text("older\n")
    if arguments and "--json" not in arguments:
        arguments = (*arguments, "--json", "older.jsonl")
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = run_program_in(tmp_path, environment, *arguments)
    assert says in sentence(done)
    # What was there before is still there.
    assert older.read_text() == "older\n"
    assert (tmp_path / "clip.avi").read_bytes() == clip


def run_program_in(folder, environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgepose.cli.run", *arguments],
        cwd=folder,
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_damaged_bundle_is_refused(tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(edgepose.Bundle(None).folder, bundle)
    network = next(bundle.glob("stage*.onnx"))
    data = bytearray(network.read_bytes())
    data[len(data) // 2] ^= 1
    network.write_bytes(data)
    text = sentence(run_program("--source", "sample", "--bundle", bundle))
    assert network.name in text


def test_usage_errors_exit_with_2():
    done = run_program("--source", "sample", "--max-persons", "0")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--max-persons" in done.stderr


def test_help_is_quick_and_names_every_option():
    done = run_program("--help")
    assert done.returncode == 0
    options = "source camera max-frames show out json bundle backend threads max-persons "
    for option in (options + "detect-every no-smooth recipe no-build").split():
        assert f"--{option}" in done.stdout
    assert "overwritten" in done.stdout


def test_nothing_heavy_is_imported():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['edgepose-run', '--source', 'sample', '--max-frames', '3', '--json', '-']\n"
        "try:\n    runpy.run_module('edgepose.cli.run', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'tensorrt', 'pycuda', 'tkinter', 'PyQt5', 'matplotlib', 'scipy'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    code = (
        "import edgepose, sys; print(sorted({'torch', 'cv2', 'scipy', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_group_runs_the_same_program(tmp_path):
    code = "import sys; sys.argv[0] = 'edgepose'; from edgepose.cli import main; main()"

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    done = call("run", "--source", str(tmp_path / "missing.mp4"))
    assert done.returncode == 2
    assert done.stderr.startswith("edgepose run: There is no file or folder")
    done = call("--help")
    assert done.returncode == 0
    for command in ("run", "eval", "train"):
        assert command in done.stdout


def test_the_python_face_gives_the_same_persons_and_closes(sample_run):
    frames = []
    for result in edgepose.stream("sample", max_frames=12):
        assert result.frame.shape == (1920, 1080, 3)
        frames.append([(p.id, p.joints, p.scores) for p in result.people])
    _, written = read_lines(sample_run[2])
    assert len(frames) == 12
    for people, line in zip(frames, written, strict=False):
        assert [p[0] for p in people] == [p["id"] for p in line["persons"]]
        for (_, joints, _), person in zip(people, line["persons"], strict=True):
            np.testing.assert_allclose(joints, np.array(person["joints"])[:, :2], atol=0.5)


def test_two_sources_share_every_call(sample, monkeypatch):
    calls, submit = [], edgepose.HostCascade.submit

    def counted(self, frames, boxes, frame_index):
        calls.append([frame.source for frame in frames])
        return submit(self, frames, boxes, frame_index)

    monkeypatch.setattr(edgepose.HostCascade, "submit", counted)
    results = list(edgepose.stream(["sample", sample], max_frames=6))
    assert [(r.index, r.source) for r in results] == [(n, s) for n in range(6) for s in (0, 1)]
    assert calls == [[0, 1]] * 6
    # The same clip twice: the same persons, each with an id of its source's own.
    for a, b in zip(results[::2], results[1::2], strict=True):
        assert [p.id for p in a.people] == [p.id for p in b.people]
        for p, q in zip(a.people, b.people, strict=True):
            np.testing.assert_allclose(p.joints, q.joints, atol=0.1)
    assert results[-1].people


def test_leaving_the_python_face_early_ends_its_threads():
    before = set(threading.enumerate())
    results = edgepose.stream("sample", max_persons=1)
    assert next(results).index == 0
    assert next(results).index == 1
    results.close()
    mine = {t for t in set(threading.enumerate()) - before if t.name.startswith("edgepose")}
    assert not mine


def test_the_python_face_tells_what_is_wrong(tmp_path):
    with pytest.raises(edgepose.errors.SourceError, match="no file or folder"):
        next(edgepose.stream(tmp_path / "missing.mp4"))
    with pytest.raises(edgepose.errors.BackendError):
        next(edgepose.stream("sample", backend="abacus"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk():
    assert "/dev/full" in sentence(run_program("--source", "sample", "--json", "/dev/full"))
