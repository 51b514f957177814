"""Annotation files and their pictures, good and bad."""

from __future__ import annotations

import io
import json
import tarfile

import cv2
import numpy as np
import pytest

from edgepose.data.records import (
    Pictures,
    load_records,
    numbered_records,
    split_by_image,
)
from edgepose.errors import DataError

JOINTS = [[10.0 + 3 * i, 20.0 + 5 * i, 2] for i in range(14)]
GOOD = {"image": "a.png", "width": 64, "height": 96, "joints": JOINTS, "split": "train"}


def write(path, *records):
    lines = (r if isinstance(r, bytes) else json.dumps(r).encode() for r in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def picture(kind=".png", seed=0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (96, 64, 3)).astype(np.uint8)
    return cv2.imencode(kind, noise)[1].tobytes()


def pack(path, **members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_record_as_written(tmp_path):
    joints = [[1.5, 2.5, 1], [3, 4, 2], [0, 0, 0], *JOINTS[3:]]
    data = write(tmp_path / "set.jsonl", GOOD | {"joints": joints, "extra": "ignored"})
    (record,) = load_records(data)
    assert (record.image, record.width, record.height) == ("a.png", 64, 96)
    assert record.points.dtype == np.float32
    np.testing.assert_array_equal(record.points[:3], [[1.5, 2.5], [3, 4], [0, 0]])
    np.testing.assert_array_equal(record.labelled[:3], [True, True, False])
    assert (record.weight, record.label, record.split) == (1.0, "human", "train")


def test_the_true_box_is_the_annotated_one_or_grown_from_labelled_joints(tmp_path):
    joints = [[100, 200, 2], [200, 600, 1], *[[0, 0, 0]] * 12]
    large = GOOD | {"joints": joints, "width": 300, "height": 700}
    data = write(tmp_path / "set.jsonl", large, large | {"true_box": [1, 2, 30, 40]})
    grown, annotated = load_records(data)
    np.testing.assert_allclose(grown.truth_box, [75, 150, 225, 650])
    np.testing.assert_array_equal(annotated.truth_box, [1, 2, 30, 40])


def test_splits_and_line_numbers(tmp_path):
    val = GOOD | {"split": "val"}
    data = write(tmp_path / "set.jsonl", GOOD, val, GOOD, val)
    assert [r.split for r in load_records(data)] == ["train", "val", "train", "val"]
    assert len(load_records(data, "val")) == 2
    assert [n for n, _ in numbered_records(data, "val")] == [1, 3]
    with pytest.raises(DataError, match="no annotation of split 'test'; it has train, val"):
        load_records(data, "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "is not a valid annotation"),
        (b"", "is not a valid annotation"),
        (b"[1, 2]", "is not a valid annotation"),
        (b'{"image": "\xff", "width": 1}', "is not a valid annotation"),
        ({"image": "a.png"}, "is not a valid annotation: .*missing.*width"),
        (GOOD | {"width": "64"}, "is not a valid annotation.*width"),
        (GOOD | {"joints": [[1, 2]] * 14}, "is not a valid annotation.*joints"),
        (GOOD | {"joints": [[float("nan"), 0, 2]] * 14}, "is not a valid annotation"),
        (GOOD | {"joints": JOINTS[:13]}, "has 13 joints, the skeleton lsp14 has 14"),
        (GOOD | {"height": 0}, "a size of 64 x 0"),
        (GOOD | {"joints": [*JOINTS[:13], [1e30, 0, 0]]}, "a million pixels away"),
        (GOOD | {"joints": [*JOINTS[:13], [70, 50, 2]]}, "its head_top at .70, 50., outside the"),
        (GOOD | {"joints": [[0, 0, 0]] * 14}, "too few joints"),
        (GOOD | {"joints": [JOINTS[0], *[[0, 0, 0]] * 13]}, "too few joints"),
        (GOOD | {"joints": [JOINTS[0]] * 14}, "too few joints"),
        (GOOD | {"true_box": [10, 10, 10, 50]}, "true_box less than a pixel"),
        (GOOD | {"true_box": [10, 50, 60, 10]}, "true_box less than a pixel"),
        (GOOD | {"true_box": [0, 0, 1e300, 50]}, "a million pixels away"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    data = write(tmp_path / "set.jsonl", GOOD, line)
    with pytest.raises(DataError, match=rf"set\.jsonl line 2 .*{message}"):
        load_records(data)


def test_missing_empty_and_wrong_files(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl \(No such file.*give the \.jsonl"):
        load_records(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="directory"):
        load_records(tmp_path)
    with pytest.raises(DataError, match="holds no annotation"):
        load_records(write(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match=r"set\.tar line 1 is not a valid annotation"):
        load_records(pack(tmp_path / "set.tar", a_png=picture()))


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
def test_pictures_from_a_tar_and_a_folder_are_the_same(tmp_path, kind):
    content = picture(kind)
    pack(tmp_path / "packed.tar", a_any=content)
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.any").write_bytes(content)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    for stem in ("packed", "loose"):
        with Pictures(tmp_path / f"{stem}.jsonl") as pictures:
            got = pictures.decode("a.any")
            assert pictures.encoded("a.any") == content
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def test_names_in_a_folder_may_include_it(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(picture())
    with Pictures(tmp_path / "set.jsonl") as pictures:
        assert pictures.encoded("set/a.png") == pictures.encoded("a.png")


def test_no_pictures_at_all(tmp_path):
    with pytest.raises(DataError, match=r"no pictures beside .*set\.jsonl: expected .*set\.tar"):
        Pictures(tmp_path / "set.jsonl")
    (tmp_path / "set.tar").write_bytes(b"not a tar at all")
    with pytest.raises(DataError, match=r"cannot read .*set\.tar"):
        Pictures(tmp_path / "set.jsonl")


@pytest.mark.parametrize("where", ["tar", "folder"])
@pytest.mark.parametrize(
    "content",
    [b"", b"text, not a picture", picture(".jpg")[:2000], picture(".webp")[:2000]],
    ids=["empty", "text", "cut jpeg", "cut webp"],
)
def test_a_broken_picture_is_named(tmp_path, where, content):
    if where == "tar":
        pack(tmp_path / "set.tar", a_jpg=content, b_png=picture())
    else:
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "a.jpg").write_bytes(content)
        (tmp_path / "set" / "b.png").write_bytes(picture())
    with Pictures(tmp_path / "set.jsonl") as pictures:
        with pytest.raises(DataError, match=r"^a\.jpg beside .* is not a readable picture"):
            pictures.decode("a.jpg")
        with pytest.raises(DataError, match=r"no picture c\.jpg"):
            pictures.decode("c.jpg")
        assert pictures.decode("b.png").shape == (96, 64, 3)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_half_a_tar(tmp_path, share):
    """As a copy that broke off leaves it: what is cut is named, what is whole is still read."""
    tar = pack(tmp_path / "set.tar", a_png=picture(), b_png=picture(seed=1))
    whole = tar.read_bytes()
    tar.write_bytes(whole[: int(share * len(whole))])
    # Where exactly Python notices depends on its version.
    with pytest.raises(DataError, match=r"set\.tar"), Pictures(tmp_path / "set.jsonl") as pictures:
        pictures.decode("b.png")
    tar.write_bytes(whole)
    with Pictures(tmp_path / "set.jsonl") as pictures:
        assert pictures.decode("b.png").shape == (96, 64, 3)


def test_records_by_picture(tmp_path):
    b = GOOD | {"image": "b.png"}
    records = load_records(write(tmp_path / "set.jsonl", GOOD, b, GOOD | {"width": 65}))
    groups = dict(split_by_image(records))
    assert list(groups) == ["a.png", "b.png"]
    assert [r.width for r in groups["a.png"]] == [64, 65]
