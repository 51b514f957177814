import json
import os
import sys

import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output.jsonl import JsonLines
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo
from tests.conftest import front_person

CLIP = SourceInfo("clip.mp4", 64, 48, 30.0)


def header(lines, *sources):
    lines.start(RunInfo("b", "onnxruntime", COCO17, sources or (CLIP,)))


def frame(index, people=(), size=(64, 48), name=None, source=0):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    return Result(index, index / 30, image, list(people), name=name, source=source)


def test_header_and_frames(tmp_path):
    path = tmp_path / "poses.jsonl"
    path.write_text("older\n" * 1000)
    lines = JsonLines(str(path))
    header(lines)
    person = front_person((1, 2, 41, 47.123456), id=7)
    lines.write(frame(0))
    lines.write(frame(1, [person]))
    lines.close()
    lines.close()
    first, empty, full = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "edgepose": 1,
        "bundle": "b",
        "backend": "onnxruntime",
        "skeleton": "coco17",
        "joints": list(COCO17.joints),
        "source": "clip.mp4",
        "width": 64,
        "height": 48,
        "fps": 30.0,
        "sources": [{"source": "clip.mp4", "width": 64, "height": 48, "fps": 30.0}],
    }
    assert empty == {"frame": 0, "source": 0, "t": 0.0, "persons": []}
    assert full["t"] == 0.0333
    (written,) = full["persons"]
    assert list(written) == ["id", "box", "score", "joints"]
    assert written["id"] == 7
    assert written["box"] == [1.0, 2.0, 41.0, 47.12]
    assert written["score"] == 0.9
    np.testing.assert_allclose(np.array(written["joints"])[:, :2], person.joints, atol=0.006)
    assert {j[2] for j in written["joints"]} == {0.9}


def test_numbers_are_short_and_finite(tmp_path):
    path = tmp_path / "poses.jsonl"
    lines = JsonLines(str(path))
    header(lines, SourceInfo("camera 0", 64, 48))
    person = front_person((0, 0, 30, 40))
    person.joints[3] = np.nan
    person.scores[4] = np.inf
    lines.write(frame(0, [person]))
    lines.close()
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    head, line = (json.loads(t) for t in text.splitlines())
    assert head["fps"] is None
    joints = line["persons"][0]["joints"]
    assert all(isinstance(v, float) for joint in joints for v in joint)
    assert max(len(str(v)) for joint in joints for v in joint) <= 6


def test_pictures_carry_their_name_and_their_own_size(tmp_path):
    path = tmp_path / "poses.jsonl"
    lines = JsonLines(str(path))
    header(lines)
    lines.write(frame(0, name="a.png"))
    lines.write(frame(1, size=(10, 20), name="b.png"))
    lines.close()
    _, same, other = (json.loads(t) for t in path.read_text().splitlines())
    assert same == {"frame": 0, "source": 0, "t": 0.0, "name": "a.png", "persons": []}
    assert (other["width"], other["height"]) == (10, 20)


def test_several_sources(tmp_path):
    path = tmp_path / "poses.jsonl"
    lines = JsonLines(str(path))
    header(lines, CLIP, SourceInfo("camera 1", 32, 24))
    lines.write(frame(0, size=(32, 24), source=1))
    lines.write(frame(0, source=0))
    lines.close()
    first, second, third = (json.loads(t) for t in path.read_text().splitlines())
    assert [s["source"] for s in first["sources"]] == ["clip.mp4", "camera 1"]
    assert "width" not in first
    assert second == {"frame": 0, "source": 1, "t": 0.0, "persons": []}
    assert third["source"] == 0


def test_every_line_is_one_write(tmp_path, monkeypatch):
    writes = []
    lines = JsonLines(str(tmp_path / "poses.jsonl"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) or write(fd, data))
    header(lines)
    lines.write(frame(0, [front_person((0, 0, 30, 40), id=i) for i in range(1, 9)]))
    lines.close()
    assert len(writes) == 2
    assert all(w.count(b"\n") == 1 and w.endswith(b"\n") for w in writes)


def test_a_full_disk_takes_the_half_line_back(tmp_path, monkeypatch):
    path = tmp_path / "poses.jsonl"
    lines = JsonLines(str(path))
    header(lines)
    whole = path.read_bytes()
    write, calls = os.write, []

    def full(fd, data):
        calls.append(data)
        if len(calls) == 1:
            return write(fd, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="no space left"):
        lines.write(frame(0))
    monkeypatch.undo()
    lines.close()
    assert path.read_bytes() == whole


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_a_device_that_is_full():
    lines = JsonLines("/dev/full")
    with pytest.raises(OutputError, match="/dev/full"):
        header(lines)
    lines.close()


def test_a_path_that_cannot_be_opened(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        JsonLines(str(tmp_path))
