"""``edgepose-data`` as a user calls it."""

import json
import subprocess
import sys

import cv2
import numpy as np

from edgepose.skeleton import LSP14


def call(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgepose.cli.data", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_set_is_checked_and_shown(tmp_path):
    (tmp_path / "set").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(3):
        cv2.imwrite(str(tmp_path / "set" / f"{number}.png"), np.full((90, 60, 3), 90, np.uint8))
        joints = [[float(x), float(y), 2] for x, y in rng.uniform(5, 55, (len(LSP14), 2))]
        lines.append({"image": f"{number}.png", "width": 60, "height": 90, "joints": joints})
    data = tmp_path / "set.jsonl"
    data.write_text("\n".join(map(json.dumps, lines)))
    done = call("check", data)
    assert done.returncode == 0, done.stderr
    assert "nothing wrong" in done.stdout
    assert call("show", data, "--out", tmp_path / "sheet.png").returncode == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (220, 660, 3)
    assert (sheet != 90).mean() > 0.02  # something is drawn
    data.write_text("\n".join(map(json.dumps, [lines[0], lines[1] | {"image": "none.png"}])))
    done = call("check", data)
    assert done.returncode == 2
    assert "line 2 has no picture" in done.stdout
    assert "Traceback" not in done.stderr


def test_mistakes_get_one_sentence(tmp_path):
    done = call("convert", tmp_path / "no.json", "--images", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
