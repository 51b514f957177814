"""The programs in examples/ do what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_repetitions():
    program = load("repetitions")
    counter = program["Repetitions"]()
    for angle in (170, 120, 90, 95, 140, 90, 160, 99, 60, 155):
        counter.add(angle)
    assert counter.count == 2
    right = program["angle"](np.array([0.0, 1]), np.zeros(2), np.array([2.0, 0]))
    assert right == pytest.approx(90)
    assert program["main"]("sample", max_frames=8) == 0


def test_fall_alarm():
    program = load("fall_alarm")
    alarm, up, down = program["Alarm"](), np.array([5.0, -90]), np.array([-90.0, -5])
    told = [alarm.add(1, down if t >= 1 else up, t) for t in (0, 0.5, 1, 1.5, 2, 2.5, 3)]
    assert told == [False, False, False, False, True, False, False]
    assert not alarm.add(1, up, 4)
    assert [alarm.add(1, down, t) for t in (5, 6)] == [False, True]
    assert program["main"]("sample", max_frames=8) == 0


def test_two_cameras():
    seen = load("two_cameras")["main"](["sample", "sample"], max_frames=6)
    assert set(seen) == {0, 1}
    assert all(seen.values())


def test_own_skeleton(tmp_path):
    skeleton = load("own_skeleton")["main"](tmp_path / "cat.png")
    assert (skeleton.name, len(skeleton)) == ("cat", 7)
    assert list(skeleton.flip) == [0, 2, 1, 3, 4, 6, 5]
    assert (cv2.imread(str(tmp_path / "cat.png")) < 250).any()


def test_crop_alone(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    program = load("crop_alone")
    crops = program["main"](str(tmp_path / "p.png"))
    assert crops.shape == (4, 3, 64, 64)
    mean, std = (np.array(program[name])[:, None, None] for name in ("MEAN", "STD"))
    exact = picture[:64, :64, ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(crops[0] * std + mean, exact, atol=1e-3)


def test_there_are_five_and_each_has_a_test():
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert len(names) == 5
    assert all(f"test_{name}" in globals() for name in names)
