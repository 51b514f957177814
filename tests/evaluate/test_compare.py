"""Comparisons say "better" only where the interval does; PDJ and PCP as others compute them."""

import json

import numpy as np
import pytest

from edgepose.errors import DataError
from edgepose.evaluate.compare import compare, read_predictions
from edgepose.evaluate.curves import THRESHOLDS, errors, pdj_curve
from edgepose.evaluate.estimates import Estimates
from edgepose.evaluate.metrics import limb_joints, pck, pcp
from edgepose.evaluate.report import prediction_lines
from edgepose.skeleton import COCO17, LSP14


def made(n=60, noise=(8.0, 4.0), skeleton=LSP14, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(20, 180, (n, len(skeleton), 2)).astype(np.float32)
    labelled = rng.random((n, len(skeleton))) < 0.9
    stages = [truth + rng.normal(0, s, truth.shape).astype(np.float32) for s in noise]
    scores = [rng.uniform(0.3, 1, truth.shape[:2]).astype(np.float32) for _ in noise]
    boxes = np.tile(np.array([10, 10, 190, 190], np.float32), (n, 1))
    images = [f"{i // 2}.png" for i in range(n)]
    return Estimates(
        skeleton, list(range(n)), images, truth, labelled, stages, scores, np.ones(n), boxes
    )


def test_a_clear_gain_is_better_and_its_mirror_worse():
    e = made(noise=(30.0, 4.0))
    there, back = compare(e, *e.stages, 0.1), compare(e, *e.stages[::-1], 0.1)
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.low < there.second - there.first < there.high
    assert there.first == pytest.approx(
        100 * pck(e.stages[0], e.truth, e.labelled, LSP14, 0.1).mean
    )


def test_what_chance_could_do_is_no_difference():
    e = made(noise=(15.0, 15.0))
    assert compare(e, *e.stages, 0.1).verdict == "no difference shown"
    same = compare(e, e.stages[0], e.stages[0], 0.1)
    assert (same.low, same.high) == (0, 0)


def test_the_interval_covers_the_true_difference():
    """Of 40 experiments whose true difference is known, nearly all intervals hold it."""
    large = made(4000, (20.0, 14.0))
    true = compare(large, *large.stages, 0.1)
    goal = true.second - true.first
    inside = 0
    for seed in range(1, 41):
        e = made(60, (20.0, 14.0), seed=seed)
        c = compare(e, *e.stages, 0.1)
        inside += c.low <= goal <= c.high
    assert inside >= 34


def test_a_peer_s_predictions_come_back_as_they_were(tmp_path):
    e = made()
    path = tmp_path / "peer.jsonl"
    path.write_bytes(b"".join(prediction_lines(e)))
    np.testing.assert_allclose(read_predictions(path, e), e.stages[-1], atol=0.006)


def test_a_peer_of_other_joints_is_read_by_their_names(tmp_path):
    e = made(2)
    joints = [[float(i), 2.0 * i, 1.0] for i in range(17)]
    lines = [{"image": "0.png", "index": i, "joints": joints} for i in (0, 1)]
    path = tmp_path / "peer.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    found = read_predictions(path, e)[0]
    assert found[LSP14.index("right_knee")][0] == COCO17.index("right_knee")
    assert np.isnan(found[LSP14.index("neck")]).all()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 1 is not a prediction"),
        ('{"image": "0.png", "index": 0, "joints": [[1, 2, 1]]}', "line 1 has 1 joints"),
        ('{"image": "other.png", "index": 0, "joints": []}', "none of these persons"),
    ],
)
def test_a_peer_s_mistakes(tmp_path, line, sentence):
    path = tmp_path / "peer.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=sentence):
        read_predictions(path, made(4))


def test_pdj_and_pcp_are_those_of_twenty_lines():
    e = made(20, (25.0,))
    y, t, known = e.stages[0], e.truth, e.labelled
    at = {name: i for i, name in enumerate(LSP14.joints)}
    diagonals = [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]
    hits, all_hits = {j: [] for j in limb_joints(LSP14)}, []
    limbs = {name: [] for name, _ in LSP14.parts}
    for n in range(20):
        torso = [
            np.hypot(*(t[n, at[a]] - t[n, at[b]]))
            for a, b in diagonals
            if known[n, at[a]] and known[n, at[b]]
        ]
        for j, rate in hits.items():
            if torso and known[n, at[j]]:
                far = np.hypot(*(y[n, at[j]] - t[n, at[j]]))
                rate.append(far <= 0.2 * max(torso))
                all_hits.append(far / max(torso))
        for name, (a, b) in LSP14.parts:
            if known[n, at[a]] and known[n, at[b]]:
                half = 0.5 * np.hypot(*(t[n, at[a]] - t[n, at[b]]))
                ends = [np.hypot(*(y[n, at[j]] - t[n, at[j]])) <= half for j in (a, b)]
                limbs[name].append(all(ends))
    place = int(np.flatnonzero(THRESHOLDS == 0.2)[0])
    by_hand = 100 * np.mean([np.mean(r) for r in hits.values()])
    assert pdj_curve(e, 0)[place] == pytest.approx(by_hand)
    np.testing.assert_allclose(errors(e, 0), sorted(all_hits), rtol=1e-5)
    assert pcp(y, t, known, LSP14).mean == pytest.approx(
        np.mean([np.mean(r) for r in limbs.values()])
    )
