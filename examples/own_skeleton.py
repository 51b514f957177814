"""A skeleton of one's own, from annotated pictures to poses: an arrow with a tail, a waist, a tip.

    python examples/own_skeleton.py runs/arrow --steps 2000

Needs the extra ``train``. The pictures are drawn here; yours come with COCO's form of annotation,
which names the joints.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

import edgepose
from edgepose.data.convert import convert
from edgepose.train.bundling import train_part
from edgepose.train.parts import Run
from edgepose.train.recipe import load_recipe

RECIPE = Path(__file__).with_name("arrow.toml")


def draw(folder: Path, count: int) -> dict[str, object]:
    """Pictures of arrows; gives their annotation as COCO writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, images, annotations = np.random.default_rng(0), [], []
    for n in range(count):
        picture = rng.integers(0, 90, (96, 96, 3), np.uint8)
        tail, tip = rng.uniform(16, 80, (2, 2))
        ends = [tuple(int(v) for v in point) for point in (tail, tip)]
        cv2.arrowedLine(picture, *ends, (60, 200, 255), 3, tipLength=0.3)
        cv2.imwrite(str(folder / f"{n}.png"), picture)
        joints = [v for x, y in (tail, (tail + tip) / 2, tip) for v in (float(x), float(y), 2)]
        images.append({"id": n, "file_name": f"{n}.png"})
        whole = [0, 0, 96, 96]
        annotations.append({"id": n, "image_id": n, "bbox": whole, "keypoints": joints})
    arrow = {"id": 1, "name": "arrow", "keypoints": ["tail", "waist", "tip"]}
    arrow["skeleton"] = [[1, 2], [2, 3]]
    return {"images": images, "annotations": annotations, "categories": [arrow]}


def main(arguments: list[str] | None = None) -> tuple[edgepose.Bundle, float]:
    """Draw, convert, train, look; gives the bundle and its mean error in pixels."""
    parser = argparse.ArgumentParser(description="Train a skeleton of one's own.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=400)
    given = parser.parse_args(arguments)
    folder = given.folder
    annotation = draw(folder / "pictures", given.pictures)
    (folder / "arrows.json").write_text(json.dumps(annotation))
    convert(folder / "arrows.json", "coco", folder / "pictures", folder / "arrows", 0.1)
    recipe = load_recipe(str(RECIPE))
    run = Run(recipe, [folder / "arrows.jsonl"], folder / "run", steps=given.steps)
    for part in recipe.parts():
        train_part(run, part)
    bundle, errors = edgepose.Bundle(run.bundle), []
    cascade = edgepose.load(bundle)
    for one in annotation["annotations"][:20]:
        picture = cv2.imread(str(folder / "pictures" / f"{one['id']}.png"))
        found = cascade(picture, [[0, 0, 96, 96]]).joints[0]
        truth = np.reshape(one["keypoints"], (-1, 3))[:, :2]
        errors.append(np.linalg.norm(found - truth, axis=1).mean())
    print(f"{bundle.skeleton.joints}: {np.mean(errors):.1f} pixels off on pictures of 96")
    return bundle, float(np.mean(errors))


if __name__ == "__main__":
    main()
