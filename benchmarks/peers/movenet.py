"""MoveNet Lightning or Thunder on the persons and boxes of a data set, beside a bundle's stages.

    EDGEPOSE_MOVENET=movenet-lightning.onnx:movenet-thunder.onnx \\
        python benchmarks/peers/movenet.py lspet.jsonl coco.jsonl parse.jsonl [--bundle FOLDER]

The ONNX files are the user's own (MoveNet, Apache-2.0; none is shipped or downloaded). Each person
of split "val" is cut to the square about the true box, as for stage 1. Prints PCK@0.1, PCK@0.2 and
PCP@0.5 in percent with 95 % intervals (bootstrap over persons), then each stage less the one before
it, paired. Persons of a line with ``"seen": true`` are also left out and the rest reported apart.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime

import edgepose
from edgepose.crop import crop
from edgepose.data.records import Pictures, load_records
from edgepose.evaluate import metrics
from edgepose.geometry import denormalise, square_boxes
from edgepose.skeleton import LSP14

COCO = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9)  # our first twelve joints among COCO's 17
PARTS = np.array([[LSP14.index(a), LSP14.index(b)] for _, (a, b) in LSP14.parts])
LIMBS = sorted(set(PARTS.ravel().tolist()))


def movenet(path, pictures, boxes):
    """Joints (n, 14, 2) in pixels; neck and head top, which it lacks, are NaN."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    kind = np.int32 if "int32" in given.type else np.float32
    joints = np.full((len(boxes), len(LSP14), 2), np.nan)
    for i, picture in enumerate(pictures):
        levels = crop(picture, boxes[i : i + 1], given.shape[1], border=(127, 127, 127))
        levels = np.clip(np.rint(levels.transpose(0, 2, 3, 1)), 0, 255).astype(kind)
        found = session.run(None, {given.name: levels})[0][0, 0]
        joints[i, :12] = denormalise(found[list(COCO), 1::-1] - 0.5, boxes[i : i + 1])[0]
    return joints


def figures(joints, truth, labelled):
    """Per figure, instances counted and right of each person: three pairs of (n, m)."""
    result = []
    for threshold in (0.1, 0.2):
        counted, right = metrics.hits(joints, truth, labelled, LSP14, threshold)
        result.append((counted[:, LIMBS], (right & counted)[:, LIMBS]))
    error = np.linalg.norm(joints - truth, axis=-1)[:, PARTS]
    length = np.linalg.norm(truth[:, PARTS[:, 0]] - truth[:, PARTS[:, 1]], axis=-1)
    counted = labelled[:, PARTS].all(-1) & (length > 0)
    right = counted & (error <= 0.5 * length[..., None]).all(-1)
    return [*result, (counted, right)]


def table(name, first, second=None, rounds=2000):
    """One line: each figure (of ``first``, or less that of ``second``) with its interval."""
    n = len(first[0][0])
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), rounds).astype(float)
    cells = []
    for i, (counted, right) in enumerate(first):

        def rates(weights, parts=(counted, right)):
            with np.errstate(invalid="ignore"):
                return 100 * np.nanmean((weights @ parts[1]) / (weights @ parts[0]), -1)

        values, point = rates(draws), rates(np.ones((1, n)))[0]
        if second is not None:
            values, point = (
                values - rates(draws, second[i]),
                point - rates(np.ones((1, n)), second[i])[0],
            )
        low, high = np.percentile(values, [2.5, 97.5])
        cells.append(f"{point:6.2f} [{low:6.2f}, {high:6.2f}]")
    print(f"{name:28} {'  '.join(cells)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--bundle")
    arguments = parser.parse_args()
    peers = [p for p in os.environ.get("EDGEPOSE_MOVENET", "").split(os.pathsep) if p]
    cascade = edgepose.load(arguments.bundle, threads=1)
    for path in arguments.data:
        records = load_records(path, "val")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        seen = np.array([bool(x.get("seen")) for x in lines if x.get("split", "train") == "val"])
        with Pictures(path) as source:
            pictures = [source.decode(r.image) for r in records]
        true = np.stack([r.truth_box for r in records])
        truth, labelled = (
            np.stack([getattr(r, a) for r in records]) for a in ("points", "labelled")
        )
        answers = {Path(p).stem: movenet(p, pictures, square_boxes(true, 1.0)) for p in peers}
        poses = [cascade(p, b[None]) for p, b in zip(pictures, true, strict=True)]
        for stage in range(len(poses[0].stages)):
            answers[f"stage {stage + 1}"] = np.stack([p.stages[stage][0] for p in poses])
        for title, kept in (("all", seen | True), ("not seen before", ~seen)):
            if title != "all" and (kept.all() or not kept.any()):
                continue
            print(f"{path.stem}, {title}: {kept.sum()} persons (PCK@0.1, PCK@0.2, PCP@0.5)")
            found = {k: figures(j[kept], truth[kept], labelled[kept]) for k, j in answers.items()}
            for name, each in found.items():
                table(f"  {name}", each)
            for stage in range(2, len(poses[0].stages) + 1):
                before, after = found[f"stage {stage - 1}"], found[f"stage {stage}"]
                table(f"  stage {stage} - stage {stage - 1}", after, before)


if __name__ == "__main__":
    main()
