"""A user's own data and skeleton: from the file to the overlay, in one test each."""

import json
import subprocess
import sys
from importlib import resources

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from edgepose.bundle import Bundle
from edgepose.cli._evaluation import Options
from edgepose.cli._evaluation import run as evaluate
from edgepose.data.convert import convert
from edgepose.skeleton import COCO17, LSP14, load_skeleton
from edgepose.train.bundling import train_part
from edgepose.train.parts import Run
from edgepose.train.recipe import load_recipe

RECIPE = """
name = "own"
version = "1"
[[stage]]
kind = "holistic"
network = "alexnet"
head = "regression"
options = { width = 0.05, dropout = 0.0 }
sizes = [64]
extent = 1.15
batch = 2
minutes = 1
loss = "l2"
optimiser = { name = "adagrad", lr = 1e-3, warmup = 1 }
[[stage]]
kind = "refine"
network = "alexnet"
head = "regression"
options = { width = 0.05, dropout = 0.0 }
sizes = [64]
extent = 2.0
batch = 2
crops = 2
minutes = 1
loss = "l2"
displacements = "normal"
optimiser = { name = "adagrad", lr = 1e-3, warmup = 1 }
"""


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


def train_and_run(tmp_path, images, source, kind, skeleton=None):
    """Convert, train both stages for two steps, run on the pictures, evaluate; gives the bundle."""
    convert(source, kind, images, tmp_path / "set", 0.4)
    if skeleton is not None:
        skeleton.replace(tmp_path / "set.skeleton.toml")
    (tmp_path / "own.toml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "own.toml"))
    job = Run(recipe, [tmp_path / "set.jsonl"], tmp_path / "run", steps=2)
    for part in recipe.parts():
        train_part(job, part)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edgepose.cli.run", "--source", str(images)),
            *("--bundle", str(job.bundle), "--boxes", "full"),
            *("--out", str(tmp_path / "overlay.mp4"), "--json", str(tmp_path / "poses.jsonl")),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    video = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert video.read()[0]
    lines = [json.loads(line) for line in (tmp_path / "poses.jsonl").read_text().splitlines()]
    bundle = Bundle(job.bundle)
    poses = [p for line in lines for p in line.get("persons", [])]
    assert len(poses) == 6
    assert all(len(p["joints"]) == len(bundle.skeleton) for p in poses)
    evaluated(tmp_path, bundle)
    return bundle


def evaluated(tmp_path, bundle):
    """Every option of the evaluation, on the set itself, the bundle being its own peer."""
    coco = bundle.skeleton == COCO17
    out = {name: tmp_path / name for name in ("f.json", "p.jsonl", "curves.png", "worst.png")}
    common = {"data": [tmp_path / "set.jsonl"], "split": None, "boxes": "full", "limit": None}
    common |= {"reliability": None, "bundle": bundle.folder, "backend": "auto", "threads": 1}
    evaluate(Options(**common, json=None, predictions=out["p.jsonl"]))
    evaluate(
        Options(
            **common,
            json=out["f.json"],
            predictions=None,
            curves=out["curves.png"],
            worst=out["worst.png"],
            peers={"itself": out["p.jsonl"]},
            oks=coco,
        )
    )
    (figures,) = json.loads(out["f.json"].read_text())["sets"]
    assert [stage["stage"] for stage in figures["stages"]] == [1, 2]
    # Predictions are rounded to 0.01 pixel: the peer is as good, by the paired interval.
    peer = next(rows for name, rows in figures["comparisons"].items() if "itself" in name)
    assert all(row["low"] <= 0 <= row["high"] for row in peer)
    assert len(figures["comparisons"]) == 2  # and stage 2 against stage 1
    assert [curve["stage"] for curve in figures["curves"]] == [1, 2]
    assert len(figures["curves"][0]["pdj"]) == 25
    assert ("oks" in figures) == coco
    for name in ("curves.png", "worst.png"):
        assert cv2.imread(str(out[name])).std() > 5


def test_a_coco_file(tmp_path, images):
    coco_file(tmp_path / "c.json", COCO17.joints, [])
    bundle = train_and_run(tmp_path, images, tmp_path / "c.json", "coco")
    assert bundle.skeleton == COCO17


@pytest.mark.parametrize("name", ["hand21", "horse16", "mpii16"])
def test_a_skeleton_that_ships(tmp_path, images, name):
    """Their joints do not tell it all: torso, mirror pairs and limbs come from the skeleton."""
    skeleton = load_skeleton(name)
    coco_file(tmp_path / "c.json", skeleton.joints, [])
    own = tmp_path / "own.skeleton.toml"
    own.write_bytes((resources.files("edgepose") / "skeletons" / f"{name}.toml").read_bytes())
    bundle = train_and_run(tmp_path, images, tmp_path / "c.json", "coco", own)
    assert bundle.skeleton == skeleton


def test_an_lsp_file(tmp_path, images):
    joints = np.random.default_rng(2).uniform(8, 60, (3, 14, 6))
    joints[2] = 0
    savemat(tmp_path / "joints.mat", {"joints": joints})
    bundle = train_and_run(tmp_path, images, tmp_path / "joints.mat", "lsp")
    assert bundle.skeleton == LSP14


def test_a_skeleton_nobody_knows(tmp_path, images):
    names = ("nose", "left_ear", "right_ear", "tail", "tip")
    coco_file(tmp_path / "c.json", names, [[1, 2], [1, 3], [1, 4], [4, 5]])
    bundle = train_and_run(tmp_path, images, tmp_path / "c.json", "coco")
    assert bundle.skeleton.joints == names
    assert bundle.manifest.format == 2
