"""Others' annotation files to ours, by the command and by hand-made files of each form."""

import json
import tarfile

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from edgepose.data.convert import convert, faults
from edgepose.data.records import Pictures, load_records, set_skeleton
from edgepose.errors import DataError
from edgepose.skeleton import COCO17, LSP14


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1, 4):
        picture = np.full((80, 60, 3), 40 * number, np.uint8)
        for name in (f"im{number:04}.jpg", f"im{number:05}.jpg", f"{number}.png"):
            cv2.imwrite(str(folder / name), picture)
    return folder


def points(k, seed=0):
    return np.random.default_rng(seed).uniform(5, 55, (k, 2)).round(2)


def coco(path, names, *, limbs=(), keypoints=None, **changes):
    p = points(len(names))
    flat = np.concatenate((p, np.full((len(names), 1), 2)), 1)
    flat[-1] = 0
    one = {"id": 7, "image_id": 3, "category_id": 1, "iscrowd": 0, "bbox": [5, 6, 50, 60]}
    one |= {"keypoints": flat.ravel().tolist() if keypoints is None else keypoints}
    crowd = one | {"id": 8, "iscrowd": 1}
    whole = {
        "images": [{"id": 3, "file_name": "1.png", "width": 60, "height": 80}],
        "annotations": [one | changes, crowd],
        "categories": [{"id": 1, "name": "thing", "keypoints": list(names), "skeleton": limbs}],
    }
    path.write_text(json.dumps(whole))
    return p


def test_coco(tmp_path, images):
    p = coco(tmp_path / "c.json", COCO17.joints)
    assert convert(tmp_path / "c.json", "coco", images, tmp_path / "out", 0.0) == (1, 1)
    (record,) = load_records(tmp_path / "out.jsonl")
    assert set_skeleton(tmp_path / "out.jsonl") == COCO17
    np.testing.assert_allclose(record.points[:16], p[:16], atol=1e-4)
    assert record.labelled.sum() == 16
    np.testing.assert_allclose(record.truth_box, [5, 6, 55, 66])
    with Pictures(tmp_path / "out.jsonl") as pictures:
        assert pictures.decode("1.png").shape == (80, 60, 3)
    assert list(faults(tmp_path / "out.jsonl")) == []


def test_coco_of_something_else_brings_its_own_skeleton(tmp_path, images):
    names = ("nose", "left_ear", "right_ear", "tail", "tip")
    coco(tmp_path / "c.json", names, limbs=[[1, 2], [1, 3], [4, 5]])
    convert(tmp_path / "c.json", "coco", images, tmp_path / "out", 0.0)
    skeleton = set_skeleton(tmp_path / "out.jsonl")
    assert skeleton.joints == names
    assert skeleton.limbs == (("nose", "left_ear"), ("nose", "right_ear"), ("tail", "tip"))
    np.testing.assert_array_equal(skeleton.flip, [0, 2, 1, 3, 4])
    assert skeleton.torso == ()


@pytest.mark.parametrize("extended", [False, True])
def test_lsp(tmp_path, images, extended):
    p = points(42, 1).reshape(3, 14, 2)
    flag = np.zeros((3, 14, 1))
    flag[:, 4:7] = 1
    rows = np.concatenate((p, flag), 2)  # (n, 14, 3)
    joints = rows.transpose(1, 2, 0) if extended else rows.transpose(2, 1, 0)
    savemat(tmp_path / "joints.mat", {"joints": joints})
    convert(tmp_path / "joints.mat", "lsp", images, tmp_path / "out", 0.0)
    records = load_records(tmp_path / "out.jsonl")
    assert [r.image for r in records] == [
        f"im{n:05}.jpg" if extended else f"im{n:04}.jpg" for n in (1, 2, 3)
    ]
    assert set_skeleton(tmp_path / "out.jsonl") == LSP14
    seen = [j[2] for j in records[1].joints]
    marked, others = (2.0, 0.0) if extended else (1.0, 2.0)
    assert seen == [marked if 4 <= i < 7 else others for i in range(14)]
    np.testing.assert_allclose(records[2].points[4], p[2, 4], atol=1e-4)


def test_mpii_json(tmp_path, images):
    p = points(16, 2)
    entry = {"image": "2.png", "joints": p.tolist(), "joints_vis": [1] * 15 + [0]}
    (tmp_path / "m.json").write_text(json.dumps([entry | {"center": [30, 40], "scale": 0.2}]))
    convert(tmp_path / "m.json", "mpii", images, tmp_path / "out", 1.0)
    (record,) = load_records(tmp_path / "out.jsonl", "val")
    assert set_skeleton(tmp_path / "out.jsonl").name == "mpii16"
    assert record.labelled.tolist() == [True] * 15 + [False]
    np.testing.assert_allclose(record.truth_box, [10, 20, 50, 60])


def test_mpii_mat(tmp_path, images):
    point = {"x": 12.0, "y": 30.0, "id": 3, "is_visible": 0}
    other = {"x": 40.0, "y": 50.0, "id": 9, "is_visible": 1}
    rect = {
        "annopoints": {"point": np.array([point, other], object)},
        "objpos": {"x": 30.0, "y": 40.0},
        "scale": 0.2,
    }
    release = {"annolist": {"image": {"name": "3.png"}, "annorect": rect}}
    savemat(tmp_path / "m.mat", {"RELEASE": release})
    convert(tmp_path / "m.mat", "mpii", images, tmp_path / "out", 0.0)
    (record,) = load_records(tmp_path / "out.jsonl")
    assert record.joints[3] == (12.0, 30.0, 1.0)
    assert record.joints[9] == (40.0, 50.0, 2.0)
    assert record.labelled.sum() == 2


def test_mistakes_name_file_and_place(tmp_path, images):
    path, out = tmp_path / "c.json", tmp_path / "out"
    path.write_text("{")
    with pytest.raises(DataError, match=r"c\.json is not JSON"):
        convert(path, "coco", images, out, 0.0)
    coco(path, COCO17.joints, bbox=None)
    with pytest.raises(DataError, match="annotation 7 is not valid"):
        convert(path, "coco", images, out, 0.0)
    coco(path, COCO17.joints, keypoints=[500, 10, 2, *[20, 30, 2] * 16])
    with pytest.raises(DataError, match=r"annotation 7 has its nose at \(500, 10\), outside"):
        convert(path, "coco", images, out, 0.0)
    coco(path, COCO17.joints)
    with pytest.raises(DataError, match=r"annotation 7: cannot read picture .*--images"):
        convert(path, "coco", tmp_path, out, 0.0)
    savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(DataError, match=r"other\.mat is not LSP's"):
        convert(tmp_path / "other.mat", "lsp", images, out, 0.0)
    assert not list(tmp_path.glob("out*"))


def test_check_names_every_line(tmp_path, images):
    coco(tmp_path / "c.json", COCO17.joints)
    convert(tmp_path / "c.json", "coco", images, tmp_path / "out", 0.0)
    data = tmp_path / "out.jsonl"
    good = json.loads(data.read_text())
    bad = [good, good | {"width": 61}, good | {"image": "no.png"}, good | {"joints": [[1, 1, 2]]}]
    data.write_text("\n".join([*map(json.dumps, bad), "{"]))
    found = list(faults(data))
    assert len(found) == 4
    for number, (text, what) in enumerate(
        zip(found, ("61 x 80", "no picture no.png", "has 1 joints", "valid"), strict=True), 2
    ):
        assert f"line {number} " in text
        assert what in text
    whole = (tmp_path / "out.tar").read_bytes()
    (tmp_path / "out.tar").write_bytes(whole[:700])  # cut short, as by a full disk
    with pytest.raises((DataError, tarfile.TarError)):
        raise DataError("; ".join(faults(data)))
