"""From annotated pictures to figures, JSON and prediction lines, with made-up estimates."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest
from rich.console import Console

from edgepose.data.records import Pictures, Record
from edgepose.errors import DataError
from edgepose.evaluate import report
from edgepose.evaluate.estimates import estimate
from edgepose.skeleton import COCO17, LSP14
from edgepose.types import Poses

K = len(LSP14)
NOT_LABELLED = (0.0, 0.0, 0.0)


def truth(x, seed):
    """14 joints of a person 60 wide and 100 high at ``x``."""
    rng = np.random.default_rng(seed)
    places = rng.random((K, 2)) * (60, 100) + (x, 10)
    return [(float(a), float(b), 2.0) for a, b in places]


@pytest.fixture
def samples():
    """Line numbers and records: two persons in a.png, one in b.png, who lacks an ankle and neck."""
    c = truth(20, 2)
    c[LSP14.index("right_ankle")] = c[LSP14.index("neck")] = NOT_LABELLED
    people = [("a.png", truth(10, 0)), ("b.png", c), ("a.png", truth(110, 1))]
    records = [Record(image, 200, 120, joints) for image, joints in people]
    return list(zip([0, 2, 3], records, strict=True))


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "set").mkdir()
    for name in "ab":
        cv2.imwrite(str(tmp_path / "set" / f"{name}.png"), np.zeros((120, 200, 3), np.uint8))
    with Pictures(tmp_path / "set.jsonl") as opened:
        yield opened


class Knowing:
    """A cascade that knows the truth by the box: stage 1 is 3 pixels off, stage 2 is right."""

    def __init__(self, samples, skeleton=LSP14):
        self.skeleton, self.specs, self.boxes = skeleton, [None, None], []
        self.records = [record for _, record in samples]

    def __call__(self, frame, boxes):
        self.boxes.append(np.array(boxes))
        order = self.skeleton.indices_in(LSP14)
        found = []
        for box in boxes:
            centre = (box[:2] + box[2:4]) / 2
            off = [np.abs((r.truth_box[:2] + r.truth_box[2:]) / 2 - centre).sum()
                   for r in self.records]  # fmt: skip
            found.append(self.records[int(np.argmin(off))].points[order])
        y = np.array(found, np.float32).reshape(-1, len(self.skeleton), 2)
        scores = np.full(y.shape[:2], 0.5, np.float32)
        return Poses([y + np.float32(3), y], [scores, scores * np.float32(1.5)])


def detector(*boxes):
    rows = np.array([(*box, 0.9) for box in boxes], np.float32).reshape(-1, 5)
    return lambda frame: rows


def test_true_boxes(samples, pictures):
    cascade, told = Knowing(samples), []
    got = estimate(samples, pictures, cascade, advance=told.append)
    assert told == [2, 1]  # by picture
    assert got.index == [0, 2, 3]
    assert got.images == ["a.png", "b.png", "a.png"]
    assert got.found.all()
    np.testing.assert_allclose(cascade.boxes[0], [samples[0][1].truth_box, samples[2][1].truth_box])
    for i, (_, record) in enumerate(samples):
        np.testing.assert_allclose(got.truth[i], record.points)
        np.testing.assert_array_equal(got.labelled[i], record.labelled)
        np.testing.assert_allclose(got.stages[0][i], record.points + 3)
        np.testing.assert_allclose(got.stages[1][i], record.points)
    np.testing.assert_allclose(got.scores[1], 0.75)
    assert report.recall(got) == 1


def test_detected_boxes_go_to_whom_they_overlap_most(samples, pictures):
    first = samples[0][1].truth_box
    wide = np.concatenate([first[:2], first[2:] + (60, 0)])  # noqa: RUF005 - a sum
    got = estimate(samples, pictures, Knowing(samples), detector(wide, first))
    # In a.png the left person has the narrow box, the right one can only share the wide one.
    assert got.found.all()
    assert got.overlap[0] == pytest.approx(1)
    assert 0 < got.overlap[2] < 0.5
    assert report.recall(got) == pytest.approx((got.overlap >= 0.5).mean())
    np.testing.assert_allclose(got.stages[1][0], samples[0][1].points)


@pytest.mark.parametrize("found", [[], [(190, 100, 200, 120)]])
def test_nobody_detected(samples, pictures, found):
    got = estimate(samples, pictures, Knowing(samples), detector(*found))
    assert not got.found.any()
    assert np.isnan(got.stages[1]).all()
    assert report.recall(got) == 0
    for f in report.figures(got):
        assert (f.pck01.mean, f.pck02.mean, f.pcp05.mean) == (0, 0, 0)
        assert f.pck02.counted.sum() == 3 * K - 2
        assert np.isnan(f.calibration_error)
        assert np.isnan(f.scores).all()
    lines = [json.loads(line) for line in report.prediction_lines(got) if line != b"\n"]
    assert len(lines) == 9
    assert all(line["joints"] == [] for line in lines)


def test_a_missed_person_is_wrong_in_all_joints(samples, pictures):
    pair = [samples[0], samples[2]]
    got = estimate(pair, pictures, Knowing(pair), detector(samples[0][1].truth_box))
    assert got.found.tolist() == [True, False]
    last = report.figures(got)[-1]
    assert (last.pck02.mean, last.pcp05.mean) == (0.5, 0.5)
    # Missed joints have no score that could be wrong: all others score 0.75 and are right.
    np.testing.assert_allclose(last.scores, 0.75)
    assert last.calibration_error == pytest.approx(0.25)


def test_figures(samples, pictures):
    first, last = report.figures(estimate(samples, pictures, Knowing(samples)))
    assert last.pck01.mean == last.pck02.mean == last.pcp05.mean == 1
    assert last.pck02.counted.tolist() == [
        2 if name in ("right_ankle", "neck") else 3 for name in LSP14.joints
    ]
    assert last.calibration_error == pytest.approx(0.25)
    assert first.calibration_error == pytest.approx(abs(0.5 - _hits(first)))


def _hits(figures):
    return figures.pck02.right.sum() / figures.pck02.counted.sum()


def test_a_bundle_of_another_skeleton(samples, pictures):
    got = estimate(samples, pictures, Knowing(samples, COCO17))
    assert got.truth.shape == (3, 17, 2)
    assert not got.labelled[:, COCO17.index("nose")].any()
    assert got.labelled[:, COCO17.index("left_knee")].all()
    last = report.figures(got)[-1]
    assert (last.pck02.mean, last.pcp05.mean) == (1, 1)
    assert last.pck02.counted[COCO17.index("nose")] == 0


def test_prediction_lines(samples, pictures):
    got = estimate(samples, pictures, Knowing(samples))
    raw = b"".join(report.prediction_lines(got))
    lines = [json.loads(line) for line in raw.splitlines()]
    assert raw.endswith(b"\n")
    assert [(x["index"], x["stage"]) for x in lines] == [
        (i, stage) for i in (0, 2, 3) for stage in (1, 2, "final")
    ]
    assert list(lines[0]) == ["image", "index", "stage", "joints"]
    assert [x["image"] for x in lines[::3]] == ["a.png", "b.png", "a.png"]
    for i, (_, record) in enumerate(samples):
        first, second, final = (np.array(x["joints"]) for x in lines[3 * i : 3 * i + 3])
        np.testing.assert_allclose(first[:, :2], record.points + 3, atol=0.006)
        np.testing.assert_allclose(second[:, :2], record.points, atol=0.006)
        np.testing.assert_array_equal(final, second)
        assert set(final[:, 2]) == {0.75}
    named = [json.loads(x) for x in report.prediction_lines(got, "one.jsonl") if x != b"\n"]
    assert {x.pop("data") for x in named} == {"one.jsonl"}
    assert named == lines


def test_json_holds_the_figures(samples, pictures):
    got = estimate(samples, pictures, Knowing(samples))
    stages = report.figures(got)
    data = json.loads(json.dumps(report.as_json(got, stages), allow_nan=False))
    assert (data["persons"], data["pictures"], len(data["stages"])) == (3, 2, 2)
    for number, (entry, f) in enumerate(zip(data["stages"], stages, strict=True), 1):
        assert entry["stage"] == number
        for key, rates in (("pck@0.1", f.pck01), ("pck@0.2", f.pck02), ("pcp@0.5", f.pcp05)):
            assert entry[key]["mean"] == pytest.approx(100 * rates.mean, abs=0.006)
            assert tuple(entry[key]["each"]) == rates.names
            for name, rate, counted in zip(rates.names, rates.rates, rates.counted, strict=True):
                each = entry[key]["each"][name]
                assert each["rate"] == pytest.approx(100 * rate, abs=0.006)
                assert each["counted"] == counted
        assert entry["calibration_error"] == pytest.approx(f.calibration_error, abs=1e-4)
        assert entry["mean_score"]["neck"] == pytest.approx(0.5 if number == 1 else 0.75)


def test_json_has_none_where_nothing_was_counted(samples, pictures):
    got = estimate(samples, pictures, Knowing(samples, COCO17))
    data = report.as_json(got, report.figures(got))
    assert data["stages"][0]["pck@0.2"]["each"]["nose"] == {"rate": None, "counted": 0}
    assert data["stages"][0]["mean_score"]["nose"] is None
    json.dumps(data, allow_nan=False)


def test_tables_fit_a_terminal(samples, pictures):
    stages = report.figures(estimate(samples, pictures, Knowing(samples)))
    stages.append(stages[-1])
    console = Console(file=io.StringIO(), width=80)
    for make in (report.summary_table, report.joint_table, report.limb_table):
        console.print(make(stages))
    text = console.file.getvalue()
    assert "…" not in text
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert ["stage", "2", "100.0", "100.0", "100.0", "0.250"] in rows
    assert any(row[:3] == ["right", "ankle", "2"] for row in rows)
    assert any(row[:4] == ["left", "lower", "leg", "3"] for row in rows)


def test_a_picture_of_another_size(samples, pictures, tmp_path):
    cv2.imwrite(str(tmp_path / "set" / "b.png"), np.zeros((60, 100, 3), np.uint8))
    message = r"^b\.png is 100 x 60 pixels, its annotation says 200 x 120; joints and picture"
    with pytest.raises(DataError, match=message):
        estimate(samples, pictures, Knowing(samples))


def test_a_missing_picture(samples, pictures, tmp_path):
    (tmp_path / "set" / "b.png").unlink()
    with pytest.raises(DataError, match=r"no picture b\.png"):
        estimate(samples, pictures, Knowing(samples))
