"""CSV, COCO and pictures."""

import csv
import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.output.coco import CocoFile
from edgepose.output.csv import CsvFile
from edgepose.output.pictures import Pictures
from edgepose.skeleton import COCO17
from edgepose.types import Result, RunInfo, SourceInfo
from tests.conftest import front_person

RUN = RunInfo("b", "onnxruntime", COCO17, (SourceInfo("clip.mp4", 64, 48, 30.0),))


def result(index, people=(), name=None, source=0):
    return Result(
        index, index / 30, np.zeros((48, 64, 3), np.uint8), list(people), name=name, source=source
    )


def write(sink, *results, run=RUN):
    sink.start(run)
    for given in results:
        assert sink.write(given)
    sink.close()
    sink.close()


def test_a_row_for_each_person_of_each_frame(tmp_path):
    path = tmp_path / "poses.csv"
    people = [front_person((1, 2, 41, 47.125), id=n) for n in (3, 7)]
    people[1].joints[5] = np.nan
    write(CsvFile(str(path)), result(0), result(1, people, name='a,"b".png'))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(r["source"], r["frame"], r["t"], r["id"]) for r in rows] == [
        ("0", "1", "0.0333", "3"),
        ("0", "1", "0.0333", "7"),
    ]
    assert rows[0]["name"] == 'a,"b".png'
    assert [rows[0][k] for k in ("x0", "y0", "x1")] == ["1", "2", "41"]
    for n, joint in enumerate(COCO17.joints):
        at = (float(rows[0][f"{joint}_x"]), float(rows[0][f"{joint}_y"]))
        np.testing.assert_allclose(at, people[0].joints[n], atol=0.006)
    assert rows[1][f"{COCO17.joints[5]}_x"] == ""
    assert len(rows[0]) == 10 + 3 * 17


def test_pycocotools_reads_the_keypoints(tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "poses.json"
    path.write_text("older")
    sink = CocoFile(str(path))
    people = [front_person((1, 2, 41, 47), id=4), front_person((5, 5, 30, 40), id=5)]
    broken = front_person((0, 0, 9, 9))
    broken.joints[0] = np.nan
    sink.start(RUN)
    for given in (result(0), result(1, people), result(2, [broken])):
        sink.write(given)
    assert path.read_text() == "older"
    sink.close()
    read = coco.COCO(str(path))
    assert len(read.getImgIds()) == 3
    found = read.loadAnns(read.getAnnIds(imgIds=[2]))
    assert [a["track_id"] for a in found] == [4, 5]
    joints = np.array(found[0]["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(joints[:, :2], people[0].joints, atol=0.006)
    assert found[0]["bbox"] == [1, 2, 40, 45]
    assert read.loadCats([1])[0]["keypoints"] == list(COCO17.joints)
    # It also serves as results over itself, as in an evaluation.
    assert len(read.loadRes([dict(a) for a in found]).anns) == 2


def test_an_empty_run_is_a_document_too(tmp_path):
    path = tmp_path / "poses.json"
    write(CocoFile(str(path)))
    whole = json.loads(path.read_text())
    assert (whole["images"], whole["annotations"]) == ([], [])


def test_pictures_are_named_by_frame_source_or_file(tmp_path):
    two = RunInfo("b", "x", COCO17, (*RUN.sources, SourceInfo("other", 64, 48)))
    write(Pictures(str(tmp_path / "a")), result(0), result(12), result(1, name="face.png"))
    write(Pictures(str(tmp_path / "b")), result(3), result(3, source=1), run=two)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "000000.jpg",
        "000012.jpg",
        "face.jpg",
    ]
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["0-000003.jpg", "1-000003.jpg"]
    assert cv2.imread(str(tmp_path / "a" / "face.jpg")).shape == (48, 64, 3)


def test_pictures_of_an_earlier_run_stay(tmp_path):
    write(Pictures(str(tmp_path)), result(0), result(1))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "other.jpg").touch()
    write(Pictures(str(tmp_path)), result(0), result(2))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000000.jpg", "000001.jpg", "000002.jpg", "000004.jpg", "other.jpg"]
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())


@pytest.mark.parametrize("make", [CsvFile, CocoFile, Pictures])
def test_where_nothing_can_be_written(tmp_path, make):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be"):
        make(str(tmp_path / "missing" / "x"))
    with pytest.raises(OutputError, match="cannot be"):
        make(str(tmp_path / "file" / "x"))


def test_a_full_disk(tmp_path, monkeypatch):
    sink = Pictures(str(tmp_path))
    sink.start(RUN)

    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="free some space"):
        sink.write(result(0))
