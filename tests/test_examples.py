"""The five examples, each run on a clip or pictures that the test knows the answer for."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def example(name):
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def frames_of(sample, scale):
    video = cv2.VideoCapture(str(sample))
    while (read := video.read())[0]:
        yield cv2.resize(read[1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def write(path, frames, fps=30.0):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def test_repetitions_are_counted(tmp_path, sample):
    """The man bends once; played forward, back and forward again he has bent three times."""
    bend = list(frames_of(sample, 0.4))[40::2]
    there_and_back = bend + bend[::-1] + bend
    clip = write(tmp_path / "bends.avi", there_and_back)
    counts = example("count_repetitions").main([str(clip)])
    assert sorted(counts.values()) == [0, 3], counts  # a bystander stands still


def test_the_alarm_sounds_for_who_falls(tmp_path, sample, capsys):
    """The picture tips over within a second: whoever stood in it lies."""
    still = next(frames_of(sample, 0.4))
    height, width = still.shape[:2]
    side = 800
    y, x = (side - height) // 2, (side - width) // 2
    room = cv2.copyMakeBorder(
        still, y, side - height - y, x, side - width - x, cv2.BORDER_REPLICATE
    )
    frames = []
    for number in range(60):
        angle = 90 * min(max((number - 10) / 25, 0), 1)
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1)
        frames.append(cv2.warpAffine(room, turn, (side, side), borderMode=cv2.BORDER_REPLICATE))
    clip = write(tmp_path / "fall.avi", frames)
    alarms = example("fall_alarm").main([str(clip), "--seconds", "0.5"])
    assert len(alarms) == 2  # both persons, each once
    assert all(1.0 < time < 2.0 for time, _ in alarms)
    assert "has lain for 0.5 s" in capsys.readouterr().out
    upright = write(tmp_path / "upright.avi", frames[:12])
    assert example("fall_alarm").main([str(upright), "--seconds", "0.2"]) == []


def test_two_cameras(tmp_path, sample, capsys):
    start = [frame for _, frame in zip(range(12), frames_of(sample, 0.4), strict=False)]
    clips = [write(tmp_path / f"{name}.avi", start[:n]) for name, n in (("door", 12), ("hall", 8))]
    frames = example("two_cameras").main([str(clip) for clip in clips])
    assert frames == {0: 12, 1: 8}
    said = capsys.readouterr().out
    assert "door.avi: " in said
    assert "hall.avi: " in said


def test_a_skeleton_of_ones_own(tmp_path):
    pytest.importorskip("torch")
    bundle, error = example("own_skeleton").main(
        [str(tmp_path / "arrow"), "--steps", "12", "--pictures", "30"]
    )
    assert bundle.skeleton.joints == ("tail", "waist", "tip")
    # Somewhere in the picture after a minute's worth of nothing; 2,000 steps are for people.
    assert error < 40


def test_the_kernel_alone(tmp_path):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, 40:] = (255, 0, 0)  # blue on the right
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    arguments = ["--box", "0", "0", "40", "60", "--box", "40", "0", "80", "60", "--size", "16"]
    out = tmp_path / "sheet.png"
    crops = example("crop_alone").main([str(tmp_path / "p.png"), *arguments, "--out", str(out)])
    assert crops.shape == (2, 3, 16, 16)
    np.testing.assert_allclose(crops[1, :, 8, 8], [-2.1179, -2.0357, 2.64], atol=1e-3)
    sheet = cv2.imread(str(out))
    assert sheet.shape == (16, 32, 3)
    assert sheet[8, 4].tolist() == [0, 0, 0]
    assert sheet[8, 24].tolist() == [255, 0, 0]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.name)
def test_they_are_short(path):
    assert len(path.read_text().splitlines()) <= 75
