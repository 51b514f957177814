"""COCO's average precision by object keypoint similarity, as pycocotools computes it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from edgepose.errors import DataError
from edgepose.evaluate.estimates import Estimates
from edgepose.skeleton import COCO17

_NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def oks_ap(estimates: Estimates, stage: int = -1) -> dict[str, float]:
    """AP and AR (percent) of COCO-17 estimates after ``stage`` (index of ``stages``).

    The area of a person is the annotated one (COCO's is the segmentation's), or, where the data
    does not tell, that of its true box, which is kinder. Persons of equal score, as all are of a
    network that does not say how sure it is, count in the order of their pictures' names, which is
    that of COCO's numbers. DataError for other skeletons, or without
    pycocotools. NaN where no person is of that size.
    """
    if estimates.skeleton.joints != COCO17.joints:
        raise DataError(
            f"OKS-AP is defined for COCO's 17 joints, the bundle has {estimates.skeleton.name}; "
            "leave --oks out"
        )
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise DataError(
            'OKS-AP needs pycocotools; install it with: pip install "edgepose[coco]"'
        ) from None
    truth, found = as_coco(estimates, stage)
    # It talks to stdout, which may be somebody's pipe.
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        if not found:
            return dict.fromkeys(_NAMES, 0.0)
        evaluation = COCOeval(ground, ground.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = (100 * float(v) if v >= 0 else float("nan") for v in evaluation.stats)
    return dict(zip(_NAMES, values, strict=True))


def as_coco(estimates: Estimates, stage: int = -1) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truth and estimates as COCO writes them: a keypoint data set, and a list of results."""
    images = {name: i for i, name in enumerate(sorted(set(estimates.images)), 1)}
    annotations, results = [], []
    for i, image in enumerate(estimates.images):
        points = np.zeros((17, 3))
        points[:, :2], points[:, 2] = estimates.truth[i], 2 * estimates.labelled[i]
        points[~estimates.labelled[i]] = 0
        x0, y0, x1, y1 = estimates.boxes[i].astype(float).tolist()
        area = float(estimates.areas[i])
        annotations.append(
            {
                "id": i + 1,
                "image_id": images[image],
                "category_id": 1,
                "iscrowd": 0,
                "keypoints": points.ravel().tolist(),
                "num_keypoints": int(estimates.labelled[i].sum()),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0) if np.isnan(area) else area,
            }
        )
        if estimates.found[i]:
            joints, scores = estimates.stages[stage][i], estimates.scores[stage][i]
            rows = np.concatenate((joints, scores[:, None]), 1).astype(float)
            results.append(
                {
                    "image_id": images[image],
                    "category_id": 1,
                    "keypoints": rows.ravel().tolist(),
                    "score": float(scores.mean()),
                }
            )
    truth = {
        "info": {},
        "images": [{"id": i, "file_name": name} for name, i in images.items()],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
    }
    return truth, results
