"""A user's own data and skeleton: from the file to the overlay, in one test each."""

import json
import sys
from importlib import resources

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from edgepose.bundle import Bundle
from edgepose.cli._evaluation import Options
from edgepose.cli._evaluation import run as evaluate
from edgepose.cli.run import main
from edgepose.data.convert import convert
from edgepose.skeleton import COCO17, LSP14, load_skeleton
from edgepose.train.bundling import train_part
from edgepose.train.parts import Run
from edgepose.train.recipe import load_recipe
from tests.small_recipe import write_recipe


@pytest.fixture
def images(tmp_path):
    """Six pictures, of which one is for validation."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 7):
        picture = rng.integers(0, 255, (90, 70, 3), np.uint8)
        cv2.imwrite(str(folder / f"im{number:04}.jpg"), picture)
    return folder


def coco_file(path, names, limbs):
    rng = np.random.default_rng(1)
    annotations = [
        {
            "id": n,
            "image_id": n,
            "category_id": 1,
            "bbox": [5, 5, 60, 80],
            "keypoints": [
                v for x, y in rng.uniform(8, 60, (len(names), 2)) for v in (float(x), float(y), 2)
            ],
        }
        for n in range(1, 7)
    ]
    whole = {
        "images": [{"id": n, "file_name": f"im{n:04}.jpg"} for n in range(1, 7)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing", "keypoints": list(names), "skeleton": limbs}],
    }
    path.write_text(json.dumps(whole))


@pytest.fixture
def train_and_run(tmp_path, images, monkeypatch):
    """Convert, train both stages for two steps, run on the pictures, evaluate; gives the bundle."""

    def whole(source, kind, skeleton=None, *, drawn=False):
        convert(source, kind, images, tmp_path / "set", 0.4)
        if skeleton is not None:
            skeleton.replace(tmp_path / "set.skeleton.toml")
        recipe = load_recipe(str(write_recipe(tmp_path / "own.toml")))
        job = Run(recipe, [tmp_path / "set.jsonl"], tmp_path / "run", steps=2)
        for part in recipe.parts():
            train_part(job, part)
        overlay, poses = tmp_path / "overlay.mp4", tmp_path / "poses.jsonl"
        arguments = ["--source", images, "--bundle", job.bundle, "--boxes", "full"]
        arguments += ["--out", overlay, "--json", poses]
        monkeypatch.setattr(sys, "argv", ["edgepose-run", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert cv2.VideoCapture(str(overlay)).read()[0]
        lines = [json.loads(line) for line in poses.read_text().splitlines()]
        bundle = Bundle(job.bundle)
        persons = [p for line in lines for p in line.get("persons", [])]
        assert len(persons) == 6
        assert all(len(p["joints"]) == len(bundle.skeleton) for p in persons)
        evaluated(tmp_path, bundle, drawn)
        return bundle

    return whole


def evaluated(tmp_path, bundle, drawn):
    """The evaluation on the set itself, the bundle being its own peer; with pictures if drawn."""
    coco = bundle.skeleton == COCO17
    pictures = {name: tmp_path / f"{name}.png" for name in ("curves", "worst") if drawn}
    figures, predictions = tmp_path / "f.json", tmp_path / "p.jsonl"
    common = {"data": [tmp_path / "set.jsonl"], "split": None, "boxes": "full", "limit": None}
    common |= {"reliability": None, "bundle": bundle.folder, "backend": "auto", "threads": 1}
    evaluate(Options(**common, json=None, predictions=predictions))
    peers = {"itself": predictions}
    evaluate(Options(**common, json=figures, predictions=None, peers=peers, oks=coco, **pictures))
    (found,) = json.loads(figures.read_text())["sets"]
    assert [stage["stage"] for stage in found["stages"]] == [1, 2]
    # Predictions are rounded to 0.01 pixel: the peer is as good, by the paired interval.
    peer = next(rows for name, rows in found["comparisons"].items() if "itself" in name)
    assert all(row["low"] <= 0 <= row["high"] for row in peer)
    assert len(found["comparisons"]) == 2  # and stage 2 against stage 1
    assert [curve["stage"] for curve in found["curves"]] == [1, 2]
    assert len(found["curves"][0]["pdj"]) == 25
    assert ("oks" in found) == coco
    for path in pictures.values():
        assert cv2.imread(str(path)).std() > 5


def test_a_coco_file(tmp_path, train_and_run):
    coco_file(tmp_path / "c.json", COCO17.joints, [])
    bundle = train_and_run(tmp_path / "c.json", "coco", drawn=True)
    assert bundle.skeleton == COCO17


@pytest.mark.parametrize("name", ["hand21", "horse16", "mpii16"])
def test_a_skeleton_that_ships(tmp_path, train_and_run, name):
    """Their joints do not tell it all: torso, mirror pairs and limbs come from the skeleton."""
    skeleton = load_skeleton(name)
    coco_file(tmp_path / "c.json", skeleton.joints, [])
    own = tmp_path / "own.skeleton.toml"
    own.write_bytes((resources.files("edgepose") / "skeletons" / f"{name}.toml").read_bytes())
    bundle = train_and_run(tmp_path / "c.json", "coco", own)
    assert bundle.skeleton == skeleton


def test_an_lsp_file(tmp_path, train_and_run):
    joints = np.random.default_rng(2).uniform(8, 60, (3, 14, 6))
    joints[2] = 0
    savemat(tmp_path / "joints.mat", {"joints": joints})
    bundle = train_and_run(tmp_path / "joints.mat", "lsp")
    assert bundle.skeleton == LSP14


def test_a_skeleton_nobody_knows(tmp_path, train_and_run):
    names = ("nose", "left_ear", "right_ear", "tail", "tip")
    coco_file(tmp_path / "c.json", names, [[1, 2], [1, 3], [1, 4], [4, 5]])
    bundle = train_and_run(tmp_path / "c.json", "coco")
    assert bundle.skeleton.joints == names
    assert bundle.manifest.format == 2
