"""Bad data and disks, as ``edgepose-train`` meets them: one sentence, exit code 2, nothing lost."""

import json
import resource
import sys
import tarfile

import cv2
import numpy as np
import pytest

from edgepose.cli.train import main
from edgepose.train.checkpoints import load_checkpoint
from tests.small_recipe import write_recipe


@pytest.fixture
def data(tmp_path):
    """Four persons, one of them for validation; the pictures in a tar."""
    rng, lines = np.random.default_rng(0), []
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for number in range(4):
            path = tmp_path / f"{number}.png"
            cv2.imwrite(str(path), rng.integers(0, 255, (90, 70, 3), np.uint8))
            tar.add(path, path.name)
            path.unlink()
            joints = [[float(x), float(y), 2] for x, y in rng.uniform(8, 60, (14, 2))]
            record = {"image": path.name, "width": 70, "height": 90, "joints": joints}
            lines.append(record | {"split": "train" if number else "val"})
    write(tmp_path / "set.jsonl", lines)
    write_recipe(tmp_path / "own.toml", stages=1, hidden=512)
    return tmp_path / "set.jsonl"


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(data, monkeypatch, capfd, steps=1):
    """Run the command in this process; gives its exit code and what it says on stderr."""
    folder = data.parent
    arguments = [data, "--recipe", folder / "own.toml", "--out", folder / "run", "--steps", steps]
    monkeypatch.setattr(sys, "argv", ["edgepose-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capfd.readouterr().err


def missing_picture(data):
    write(data, [*lines(data), lines(data)[1] | {"image": "none.png"}])


def joint_outside(data):
    bad = lines(data)
    bad[2]["joints"][5] = [500.0, 20.0, 2]
    write(data, bad)


def wrong_skeleton(data):
    bad = lines(data)
    bad[3]["joints"] = bad[3]["joints"][:11]
    write(data, bad)


def half_a_tar(data):
    tar = data.with_suffix(".tar")
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])


def no_line_at_all(data):
    data.write_text("")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing_picture, r"set.tar holds no picture none.png"),
        (joint_outside, "set.jsonl line 3 has its left_ankle at (500, 20), outside the picture"),
        (wrong_skeleton, "set.jsonl line 4 has 11 joints, the skeleton lsp14 has 14"),
        (half_a_tar, "set.tar"),
        (no_line_at_all, "set.jsonl holds no annotation"),
    ],
)
def test_bad_data_is_one_sentence(data, monkeypatch, capfd, spoil, sentence):
    spoil(data)
    code, said = train(data, monkeypatch, capfd)
    assert code == 2
    assert sentence in said
    assert said.startswith("edgepose-train: ")
    assert said.count("\n") == 1


def test_an_empty_checkpoint_is_named_and_left_as_it_is(data, monkeypatch, capfd):
    path = data.parent / "run" / "stage1" / "checkpoint.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    code, said = train(data, monkeypatch, capfd)
    assert code == 2
    assert f"checkpoint {path} is damaged" in said.replace("\n", " ")
    assert path.read_bytes() == b""


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_disk_that_fills_costs_no_checkpoint(data, monkeypatch, capfd):
    """The limit on a file's size stands in for the disk: the system refuses to write on."""
    path = data.parent / "run" / "stage1" / "checkpoint.safetensors"
    assert train(data, monkeypatch, capfd)[0] == 0
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        code, said = train(data, monkeypatch, capfd, steps=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    assert "make room" in said
    assert path.read_bytes() == whole
    assert load_checkpoint(path)["step"] == 1
    assert train(data, monkeypatch, capfd, steps=2)[0] == 0
    assert load_checkpoint(path)["step"] == 2
