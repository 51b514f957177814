"""PDJ over the threshold and the distribution of errors: what one threshold does not tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.evaluate.estimates import Estimates
from edgepose.evaluate.metrics import limb_joints, pck, torso_size

THRESHOLDS = np.round(np.arange(0.02, 0.5001, 0.02), 2)  # torso diameters, as in the paper's plots


def pdj_curve(estimates: Estimates, stage: int) -> NDArray[np.float64]:
    """Mean PDJ (percent) at each of ``THRESHOLDS`` after ``stage`` (index); Sapp & Taskar 2013."""
    e = estimates
    joints = e.stages[stage]
    return np.array(
        [100 * pck(joints, e.truth, e.labelled, e.skeleton, t).mean for t in THRESHOLDS]
    )


def errors(estimates: Estimates, stage: int) -> NDArray[np.float64]:
    """Sorted errors of the labelled limb joints after ``stage`` (index), torso diameters.

    A missed person's joints are infinitely far off.
    """
    e = estimates
    size = torso_size(e.truth, e.labelled, e.skeleton)
    columns = [e.skeleton.index(joint) for joint in limb_joints(e.skeleton)]
    known = (e.labelled & ~np.isnan(size)[:, None])[:, columns]
    error = np.linalg.norm(e.stages[stage].astype(np.float64) - e.truth, axis=-1) / size[:, None]
    error = np.where(np.isnan(error), np.inf, error)[:, columns]
    return np.sort(error[known])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 2)


def as_json(estimates: Estimates) -> list[dict[str, Any]]:
    """Per stage: the PDJ curve, and the error below which each tenth of the joints lies."""
    told = []
    for stage in range(len(estimates.stages)):
        sorted_errors = errors(estimates, stage)
        tenths = {
            f"{10 * i}%": round(float(sorted_errors[(len(sorted_errors) - 1) * i // 10]), 4)
            for i in range(1, 10)
            if len(sorted_errors) and np.isfinite(sorted_errors[(len(sorted_errors) - 1) * i // 10])
        }
        curve = pdj_curve(estimates, stage)
        told.append(
            {
                "stage": stage + 1,
                "pdj": {
                    f"{t:g}": _number(v) for t, v in zip(THRESHOLDS, curve.tolist(), strict=True)
                },
                "error_quantiles": tenths,
            }
        )
    return told
