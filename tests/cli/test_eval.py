"""``edgepose-eval`` as a user calls it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile

import cv2
import numpy as np
import pytest

from edgepose.bundle import Bundle

STAGES = len(Bundle().manifest.stages)
BOX = [57.0, 78.0, 144.0, 295.0]  # the man in the sample's first frames, at a quarter of its size


def evaluate(*arguments, **options):
    """Run ``edgepose-eval`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edgepose.cli.eval", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "120", "PYTHONWARNINGS": "error"},
        **options,
    )


def fails(done, *words):
    """One sentence on stderr, exit code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("edgepose-eval: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def frames(sample):
    """Four frames of the clip as PNG, 270 x 480."""
    capture, encoded = cv2.VideoCapture(str(sample)), []
    for _ in range(4):
        ok, picture = capture.read()
        assert ok
        small = cv2.resize(picture, (270, 480), interpolation=cv2.INTER_AREA)
        encoded.append(cv2.imencode(".png", small)[1].tobytes())
    capture.release()
    return encoded


def records(count=4, **changes):
    """Made-up annotations: joints on a line from head to foot; line 1 is of split train."""
    joints = [[100.0 + i % 2, 80.0 + 15 * i, 2] for i in range(14)]
    return [
        {"image": f"{n}.png", "width": 270, "height": 480, "joints": joints, "true_box": BOX}
        | {"split": "train" if n == 1 else "val"}
        | changes
        for n in range(count)
    ]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def data(tmp_path, frames):
    """A set whose pictures lie in a folder."""
    folder = tmp_path / "set"
    folder.mkdir()
    for n, content in enumerate(frames):
        (folder / f"{n}.png").write_bytes(content)
    return write(tmp_path / "set.jsonl", records())


def lines(path):
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_estimates_taken_as_truth_are_all_right(data, tmp_path):
    """The estimates of a first run, written as annotations, give 100 % in the second."""
    out = tmp_path / "poses.jsonl"
    out.write_text("older")
    done = evaluate(data, "--predictions", out)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"{data}: 3 persons in 3 pictures, split val, true boxes" in done.stdout
    for word in ("PCK@0.1", "PCK@0.2", "PCP@0.5", "calibration error", f"stage {STAGES}"):
        assert word in done.stdout
    found = lines(out)
    assert [(x["index"], x["stage"]) for x in found] == [
        (n, stage) for n in (0, 2, 3) for stage in (*range(1, STAGES + 1), "final")
    ]
    assert {x["image"] for x in found} == {"0.png", "2.png", "3.png"}

    final = {x["index"]: x["joints"] for x in found if x["stage"] == "final"}
    truth = records()
    for index, joints in final.items():
        assert len(joints) == 14
        assert all(0 <= score <= 1 for _, _, score in joints)
        truth[index]["joints"] = [[x, y, 2] for x, y, _ in joints]
    figures = tmp_path / "figures.json"
    done = evaluate(write(data, truth), "--json", figures, "--limit", 2)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(figures.read_text())["sets"]
    assert (one["persons"], one["limit"], one["boxes"], one["split"]) == (2, 2, "truth", "val")
    assert [s["stage"] for s in one["stages"]] == list(range(1, STAGES + 1))
    last = one["stages"][-1]
    assert [last[k]["mean"] for k in ("pck@0.1", "pck@0.2", "pcp@0.5")] == [100, 100, 100]
    assert f"wrote {figures}" in done.stdout
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_detected_boxes_a_tar_and_several_sets(data, tmp_path, frames):
    """In the second set the true boxes lie where nobody is."""
    with tarfile.open(tmp_path / "empty.tar", "w") as tar:
        for n, content in enumerate(frames):
            info = tarfile.TarInfo(f"{n}.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    empty = write(tmp_path / "empty.jsonl", records(2, true_box=[0, 0, 9, 9], split="test"))
    out, figures = tmp_path / "poses.jsonl", tmp_path / "figures.json"
    options = ("--boxes", "detect", "--split", "all", "--predictions", out, "--json", figures)
    done = evaluate(data, empty, *options)
    assert done.returncode == 0, done.stderr
    assert "4 persons in 4 pictures, all lines, the detector's boxes" in done.stdout
    assert "detection: recall 100.0 at an IoU of 0.5; 0 persons missed" in done.stdout
    assert "detection: recall 0.0 at an IoU of 0.5; 2 persons missed" in done.stdout
    first, second = json.loads(figures.read_text())["sets"]
    assert first["detection"] == {"recall@0.5": 100, "missed": 0}
    assert second["detection"] == {"recall@0.5": 0, "missed": 2}
    assert second["stages"][-1]["pck@0.2"]["mean"] == 0
    found = lines(out)
    assert len(found) == (4 + 2) * (STAGES + 1)
    assert all(len(x["joints"]) == (14 if x["data"] == str(data) else 0) for x in found)


def test_json_on_stdout_stays_apart_from_the_tables(data):
    done = evaluate(data, "--limit", 1, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sets"][0]["persons"] == 1
    assert "PCK@0.2" in done.stderr


def test_a_broken_picture_is_named_and_older_files_stay(data, tmp_path):
    (tmp_path / "set" / "2.png").write_bytes(b"not a picture")
    out, figures = tmp_path / "poses.jsonl", tmp_path / "figures.json"
    out.write_text("older\n")
    figures.write_text("older\n")
    done = evaluate(data, "--predictions", out, "--json", figures)
    fails(done, "2.png", "is not a readable picture")
    assert out.read_text() == figures.read_text() == "older\n"


def test_reliability_is_drawn(data, tmp_path):
    path = tmp_path / "plot.png"
    done = evaluate(data, "--split", "all", "--reliability", path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(path)).shape[1] == 1100
    assert f"wrote {path}" in done.stdout


def test_scenes_measure_the_detector(data, tmp_path):
    (tmp_path / "scenes").mkdir()
    picture = (tmp_path / "set" / "0.png").read_bytes()
    (tmp_path / "scenes" / "0.png").write_bytes(picture)
    bare = cv2.imencode(".png", np.full((480, 270, 3), 90, np.uint8))[1].tobytes()
    (tmp_path / "scenes" / "1.png").write_bytes(bare)
    scene = {"image": "0.png", "width": 270, "height": 480, "boxes": [[*BOX, 1.0]], "split": "val"}
    path = write(tmp_path / "scenes.jsonl", [scene, scene | {"image": "1.png", "boxes": []}])
    figures = tmp_path / "figures.json"
    done = evaluate(path, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert "2 scenes with 1 persons, 1 of them without" in done.stdout
    (found,) = json.loads(figures.read_text())["sets"]
    assert found["recall, %"] == found["recall, 100 px and more, %"] == [100, 100, 100]
    assert found["false persons on 100 scenes without"] == [0, 0, 0]
    assert "recall, 0 to 60 px, %" not in found
    fails(evaluate(path, "--predictions", tmp_path / "p.jsonl"), "whole scenes have no joints")


def test_data_that_is_not_there(tmp_path, data):
    fails(evaluate(tmp_path / "none.jsonl"), "none.jsonl", "No such file")
    fails(evaluate(data, "--split", "test"), "no annotation of split 'test'; it has train, val")
    lonely = write(tmp_path / "lonely.jsonl", records())
    fails(evaluate(data, lonely), "no pictures beside", "lonely.tar")


def test_bad_annotations(data):
    with data.open("a") as file:
        file.write('{"image": "4.png"')
    fails(evaluate(data), "set.jsonl line 5 is not a valid annotation")
    data.write_text("")
    fails(evaluate(data), "holds no annotation")


def test_bad_outputs(data, tmp_path):
    before = data.read_bytes(), (tmp_path / "set" / "0.png").read_bytes()
    fails(evaluate(data, "--json", tmp_path / "no" / "x.json"), "there is no folder")
    fails(evaluate(data, "--predictions", tmp_path), "it is a folder")
    fails(evaluate(data, "--json", data), "belongs to the data")
    fails(evaluate(data, "--json", tmp_path / "set" / "0.png"), "belongs to the data")
    fails(evaluate(data, "--reliability", tmp_path / "x.gif"), "end its name in .png")
    same = tmp_path / "x.json"
    fails(evaluate(data, "--json", same, "--predictions", same), "give two paths")
    assert not same.exists()
    assert before == (data.read_bytes(), (tmp_path / "set" / "0.png").read_bytes())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_costs_the_file_and_not_the_tables(data):
    done = evaluate(data, "--limit", 1, "--json", "/dev/full")
    fails(done, "/dev/full", "no space left")
    assert "PCK@0.2" in done.stdout


def test_bad_bundles_and_backends(data, tmp_path):
    fails(evaluate(data, "--bundle", tmp_path), "no bundle at", "leave --bundle out")
    fails(evaluate(data, "--backend", "abacus"), "unknown backend 'abacus'")


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, edgepose.cli.eval; "
        "print(sorted({'cv2', 'onnxruntime', 'torch', 'rich.table'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_evaluation_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; "
        "import edgepose.cli._evaluation, edgepose.evaluate.report"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
