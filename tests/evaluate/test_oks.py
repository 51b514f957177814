"""OKS-AP: the library's figures on COCO files with crowds and unlabelled persons, and by hand."""

import contextlib
import dataclasses
import io
import json

import cv2
import numpy as np
import pytest

from edgepose.data.convert import convert
from edgepose.data.records import Pictures, numbered_records
from edgepose.errors import DataError
from edgepose.evaluate.estimates import Estimates, estimate
from edgepose.evaluate.oks import oks_ap
from edgepose.skeleton import COCO17, LSP14
from edgepose.types import Poses

pytest.importorskip("pycocotools.coco")

NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# COCO's constants, in its order of joints (cocodataset.org, keypoint evaluation).
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


@pytest.fixture
def coco(tmp_path):
    """120 persons of all sizes in 40 pictures, each with a crowd and somebody without a label."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    blank, annotations = np.zeros((60, 600, 3), np.uint8), []

    def add(image, x, side, keypoints, area, crowd=0):
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": 1,
                "iscrowd": crowd,
                "bbox": [x, 2, side, 56],
                "area": area,
                "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            }
        )

    for image in range(1, 41):
        cv2.imwrite(str(tmp_path / "images" / f"{image}.png"), blank)
        for place in range(3):
            keypoints = np.zeros((17, 3))
            keypoints[:, 0] = rng.uniform(5, 95, 17) + 100 * place
            keypoints[:, 1] = rng.uniform(5, 55, 17)
            keypoints[:, 2] = rng.choice([0, 1, 2], 17, p=[0.2, 0.2, 0.6])
            keypoints[keypoints[:, 2] == 0] = 0
            width = float(rng.uniform(80, 96))  # by which the cascade below knows whom it sees
            add(image, 100 * place + 2, width, keypoints, float(rng.uniform(300, 20000)))
        add(image, 420, 60, np.zeros((17, 3)), 4000.0, crowd=1)
        add(image, 520, 60, np.zeros((17, 3)), 4000.0)
    whole = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 600, "height": 60}
                   for i in range(1, 41)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints),
                        "skeleton": []}],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(whole))
    return whole


class Near:
    """A cascade that is off by a little, more for some persons, and says how sure it is."""

    skeleton, specs = COCO17, (None,)

    def __init__(self, records):
        self.truth = {tuple(r.truth_box.tolist()): r.points for r in records}
        self.rng = np.random.default_rng(1)

    def __call__(self, frame, boxes):
        y = np.array([self.truth[tuple(box.tolist())] for box in boxes], np.float32)
        off = self.rng.gamma(2, 1.5, (len(y), 1, 1)) * self.rng.normal(size=y.shape)
        scores = self.rng.uniform(0.2, 1, y.shape[:2]).astype(np.float32)
        return Poses([(y + off).astype(np.float32)], [scores])


def test_ap_on_a_coco_file_is_the_library_s_own(coco, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    convert(tmp_path / "truth.json", "coco", tmp_path / "images", tmp_path / "set", 0.0)
    samples = numbered_records(tmp_path / "set.jsonl")
    assert len(samples) == 120
    with Pictures(tmp_path / "set.jsonl") as pictures:
        e = estimate(samples, pictures, Near([r for _, r in samples]))
    numbers = {image["file_name"]: image["id"] for image in coco["images"]}
    results = [
        {
            "image_id": numbers[e.images[i]],
            "category_id": 1,
            "keypoints": np.c_[e.stages[0][i], e.scores[0][i]].astype(float).ravel().tolist(),
            "score": float(e.scores[0][i].mean()),
        }
        for i in range(len(e))
    ]
    (tmp_path / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(str(tmp_path / "truth.json"))  # the file itself, crowds and all
        theirs = COCOeval(ground, ground.loadRes(str(tmp_path / "found.json")), "keypoints")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = oks_ap(e)
    assert tuple(ours) == NAMES
    np.testing.assert_allclose(list(ours.values()), 100 * theirs.stats, atol=1e-9)
    assert 20 < ours["AP"] < 90
    assert len({round(v, 3) for v in ours.values()}) > 6  # sizes and thresholds differ


def planted(similarity, area=5000.0):
    """One person per picture, all joints off so far that its OKS is what was asked for."""
    n = len(similarity)
    truth = np.random.default_rng(2).uniform(50, 150, (n, 17, 2))
    far = np.sqrt(-2 * np.log(similarity) * area)[:, None] * 2 * SIGMAS
    joints = truth + np.stack((far, np.zeros_like(far)), -1)
    scores = np.linspace(0.9, 0.1, n)[:, None] * np.ones((n, 17))
    return Estimates(
        COCO17, list(range(n)), [f"{i}.png" for i in range(n)], truth, np.ones((n, 17), bool),
        [joints], [scores], np.ones(n), np.tile([0.0, 0, 200, 200], (n, 1)), np.full(n, area),
    )  # fmt: skip


def test_ap_of_planted_similarities_is_that_of_the_definition():
    """exp(-d² / 2 s² k²), k twice σ, s² the area; at each threshold all persons before the last."""
    similarity = np.array([0.97, 0.92, 0.87, 0.82, 0.77, 0.72, 0.67, 0.62, 0.57, 0.52])
    ours = oks_ap(planted(similarity))
    assert ours["AR50"] == pytest.approx(100)
    assert ours["AR75"] == pytest.approx(50)
    thresholds = np.arange(0.5, 1, 0.05)
    assert ours["AR"] == pytest.approx(
        100 * np.mean([(similarity >= t).mean() for t in thresholds])
    )
    # The surest are the nearest: precision is 1 up to the recall that is reached, of 101 points
    # (one more or less: a recall of 0.7 is a rounded number).
    reached = [np.floor((similarity >= t).mean() * 100 + 1e-9) + 1 for t in thresholds]
    assert ours["AP"] == pytest.approx(100 * np.mean(reached) / 101, abs=0.2)
    assert np.isnan(ours["APl"]) == np.isnan(ours["ARl"])


def test_without_an_area_the_box_s_counts():
    e = planted(np.array([0.97, 0.9]))
    unknown = Estimates(
        *(getattr(e, f) for f in ("skeleton", "index", "images", "truth", "labelled")),
        e.stages, e.scores, e.overlap, e.boxes, np.full(2, np.nan),
    )  # fmt: skip
    assert oks_ap(unknown)["AP"] > oks_ap(e)["AP"]


def test_equal_scores_count_in_the_order_of_the_pictures_names():
    """As with COCO's numbers, whatever the order of the file."""
    e, found = planted(np.array([0.99, 0.2, 0.99, 0.2])), []
    for order in ([0, 1, 2, 3], [3, 1, 2, 0]):
        moved = dataclasses.replace(
            e,
            truth=e.truth[order],
            images=[e.images[i] for i in order],
            stages=[e.stages[0][order]],
            scores=[np.full((4, 17), 0.5)],
        )
        found.append(oks_ap(moved)["AP"])
    assert found[0] == pytest.approx(found[1])
    assert 20 < found[0] < 90


def test_another_skeleton_is_refused():
    e = planted(np.array([0.9]))
    other = Estimates(
        LSP14, e.index, e.images, e.truth[:, :14], e.labelled[:, :14], [], [], e.overlap
    )
    with pytest.raises(DataError, match="17 joints"):
        oks_ap(other)
