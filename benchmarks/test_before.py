"""The joints of an earlier edgepose and of this one, the same weights in the same boxes.

    EDGEPOSE_BEFORE=../before EDGEPOSE_CLIPS=clips pytest benchmarks/test_before.py -s

Whole runs cannot be compared box by box: here the boxes of a frame come from stage 1 of an earlier
one and there from the last stage of the frame before. So both cascades are given the boxes of the
persons whom a run of this edgepose finds, in every frame of every clip. The distance of the joints
of whole runs is printed beside it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.process import CLIP
from benchmarks.runs import BEFORE, PRESENT, SHIPPED, finish, shipped_to_before, start

CLIPS = [CLIP, *sorted(Path(os.environ.get("EDGEPOSE_CLIPS", os.devnull)).glob("*.mp4"))]
SCRIPT = Path(__file__).parent / "peers" / "joints.py"


def poses(clip: Path, out: Path, package: str, bundle: str) -> list[list[np.ndarray]]:
    """Per frame, the joints (k, 2) of every person of a whole run, and the box as the last row."""
    program = [sys.executable, "-m", "edgepose.cli.run", "--source", str(clip), "--no-smooth"]
    finish(start([*program, "--bundle", bundle, "--json", str(out)], package))
    frames = []
    for line in out.read_text().splitlines()[1:]:
        people = json.loads(line)["persons"]
        frames.append(
            [np.array([*(j[:2] for j in p["joints"]), p["box"][:2], p["box"][2:]]) for p in people]
        )
    return frames


@pytest.mark.skipif(BEFORE is None, reason="EDGEPOSE_BEFORE names no earlier edgepose")
def test_joints(benchmark, tmp_path, capsys):
    boxes, whole, old = {}, [], shipped_to_before(tmp_path)
    for clip in CLIPS:
        ours = poses(clip, tmp_path / "ours.jsonl", PRESENT, SHIPPED)
        theirs = poses(clip, tmp_path / "theirs.jsonl", str(BEFORE), old)
        rows = [(n, *p[-2:].ravel()) for n, people in enumerate(ours) for p in people]
        boxes[str(clip)] = np.array(rows, np.float32)
        for mine, others in zip(ours, theirs, strict=True):
            for person in mine:
                off = [np.linalg.norm(person - o, axis=1)[:-2] for o in others]
                if off:
                    whole.append(np.median(min(off, key=np.median)))
    np.savez(tmp_path / "boxes.npz", **boxes)

    def estimates(package: str, bundle: str) -> np.ndarray:
        """(n, 2): the joints of everybody in all clips, one below the other."""
        out = tmp_path / "joints.npz"
        command = [sys.executable, str(SCRIPT), str(tmp_path / "boxes.npz"), str(out), bundle]
        finish(start(command, package))
        with np.load(out) as kept:
            return np.concatenate([kept[clip].reshape(-1, 2) for clip in boxes])

    found = [
        benchmark.pedantic(estimates, (PRESENT, SHIPPED), rounds=1),
        estimates(str(BEFORE), old),
    ]
    off = np.linalg.norm(found[0] - found[1], axis=1)
    persons = sum(map(len, boxes.values()))
    benchmark.extra_info |= {
        "persons": persons,
        "median px": float(np.median(off)),
        "largest px": float(off.max()),
        "whole runs, median px": float(np.median(whole)),
    }
    with capsys.disabled():
        print(
            f"\n{persons} persons in {len(boxes)} clips: median {np.median(off):.4f} px, largest "
            f"{off.max():.3f} px; whole runs {np.median(whole):.2f} px apart in the median"
        )
    assert persons > 150
    assert np.median(off) <= 0.5
