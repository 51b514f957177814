"""kill -9 at random moments: what has been written is whole.

Fifty rounds: ``EDGEPOSE_KILLS=50 python -m pytest tests/test_kill.py``.
"""

import csv
import json
import os
import random
import time

import cv2
import pytest

from tests.conftest import program

ROUNDS = int(os.environ.get("EDGEPOSE_KILLS", "2"))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_run_leaves_whole_records_and_a_video_that_opens(tmp_path, number):
    suffix = (".mp4", ".mkv", ".avi")[number % 3]
    out, poses, table = tmp_path / f"out{suffix}", tmp_path / "poses.jsonl", tmp_path / "poses.csv"
    shots = tmp_path / "shots"
    arguments = ["--out", out, "--json", poses, "--csv", table, "--pictures", shots]
    source = ["--source", "sample", "--loop", "--size", "360x640", "--fps", 10]
    with program(*source, *arguments) as process:
        deadline = time.monotonic() + 120
        # The kill falls anywhere: into a frame, a write, a fragment of the video.
        # A Matroska cluster, which is written as one, holds five seconds.
        wanted = random.Random(number).randint(20, 60) + 50 * (suffix == ".mkv")
        while not (poses.exists() and poses.read_bytes().count(b"\n") > wanted):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.Random(-number).uniform(0, 0.1))
        process.kill()
        process.communicate(timeout=120)
    text = poses.read_text()
    assert text.endswith("\n")
    frames = [json.loads(line)["frame"] for line in text.splitlines()[1:]]
    assert frames == list(range(len(frames)))
    text = table.read_text()
    assert text.endswith("\n")
    assert {len(row) for row in csv.reader(text.splitlines())} == {10 + 3 * 14}
    capture, count = cv2.VideoCapture(str(out)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    assert 1 <= count <= len(frames) + 60
    pictures = sorted(p for p in shots.iterdir() if p.suffix == ".jpg")
    for picture in pictures:
        data = picture.read_bytes()
        assert data[:2] == b"\xff\xd8"
        assert data[-2:] == b"\xff\xd9"
