"""``edgepose-train`` as a user calls it, on a handful of made-up persons."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import edgepose
from edgepose import cli
from edgepose.skeleton import LSP14

pytest.importorskip("torch")


def call(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgepose.cli.train", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def data(sample, tmp_path_factory):
    """Two annotated pictures per split, cut from the sample clip."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "made").mkdir()
    video = cv2.VideoCapture(str(sample))
    lines = []
    rng = np.random.default_rng(0)
    for i, split in enumerate(["train", "train", "train", "train", "val", "val"]):
        picture = cv2.resize(video.read()[1][250:1250, 150:650], (150, 300))
        cv2.imwrite(str(folder / "made" / f"{i}.png"), picture)
        joints = [
            [float(75 + 30 * x + rng.normal()), float(150 + 100 * y + rng.normal()), 2]
            for x, y in zip(np.linspace(-1, 1, 14), np.linspace(-1, 1, 14)[::-1], strict=True)
        ]
        record = {"image": f"{i}.png", "width": 150, "height": 300, "joints": joints}
        record |= {"split": split, "boxes": [[30.0, 20.0, 120.0, 280.0, 0.9]]}
        lines.append(json.dumps(record))
    (folder / "made.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "made.jsonl"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(
        'name = "tiny"\nversion = "0"\n'
        '[[stage]]\nkind = "holistic"\nnetwork = "lite0"\nsizes = [64, 96]\nextent = 1.15\n'
        "batch = 2\nminutes = 9\noptimiser = { lr = 1e-4 }\n"
        '[[stage]]\nkind = "refine"\nnetwork = "lite0"\nsizes = [64]\nextent = 2.0\n'
        "options = { channels = 16 }\ncrops = 4\nstart = 1\n"
        "batch = 2\nminutes = 9\noptimiser = { lr = 1e-4 }\n"
        "[detector]\nminutes = 9\nsize = [64, 96]\nbatch = 2\n"
    )
    return path


def test_every_part_is_trained_and_the_bundle_runs(data, recipe, tmp_path):
    out = tmp_path / "run"
    done = call(data, "--out", out, "--recipe", recipe, "--steps", 4)
    assert done.returncode == 0, done.stderr
    bundle = edgepose.Bundle(out / "bundle")
    assert [stage.size for stage in bundle.manifest.stages] == [96, 64]
    assert bundle.manifest.detector is not None
    frame = cv2.imread(str(data.parent / "made" / "0.png"))
    poses = edgepose.load(bundle, check=True)(frame, [[30, 20, 120, 280]])
    assert poses.joints.shape == (1, len(LSP14), 2)
    for part in ("stage1", "stage2", "detector"):
        assert (out / part / "checkpoint.safetensors").exists()
    log = [json.loads(line) for line in (out / "stage2" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 4
    assert {"made_pck0.2", "made_before_pck0.2"} <= log[-1].keys()


def test_a_mistake_ends_the_program_with_one_sentence(tmp_path):
    done = call("nowhere.jsonl", "--part", 1, "--out", tmp_path / "run", "--steps", 1)
    assert done.returncode == 2, done.stderr
    assert "nowhere.jsonl" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "unknown"], "no recipe 'unknown'"),
        (["--part", "7"], "no part '7'"),
        (["--part", "nose"], "nose"),
        (["--part", "2"], "bundle"),
        (["--init", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_mistakes_get_one_sentence(data, tmp_path, arguments, sentence):
    if "--part" not in arguments:
        arguments = [*arguments, "--part", "1"]
    options = [*arguments, "--out", str(tmp_path / "run"), "--steps", "1"]
    done = CliRunner().invoke(cli.app(), ["train", str(data), *options])
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
