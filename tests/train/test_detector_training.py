import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from edgepose.data.records import Record  # noqa: E402
from edgepose.people.detector import Detector  # noqa: E402
from edgepose.train import detector as training  # noqa: E402
from edgepose.train.detector_batches import Batches  # noqa: E402
from edgepose.train.detector_compose import Composer  # noqa: E402
from edgepose.train.detector_data import LabelledPicture, label_boxes  # noqa: E402
from edgepose.train.detector_lite0 import Lite0Detector, boxes_at  # noqa: E402
from edgepose.train.detector_loss import (  # noqa: E402
    assign,
    detection_loss,
    giou,
    grid,
    pairwise_iou,
)
from edgepose.train.detector_turn import widen  # noqa: E402
from edgepose.train.distributed import Processes  # noqa: E402
from edgepose.train.export import deployable  # noqa: E402
from edgepose.train.loop import Plan  # noqa: E402
from edgepose.train.recipe import DetectorRecipe  # noqa: E402

JOINTS = [(40.0 + (i % 3) * 10, 20.0 + i * 5, 2) for i in range(14)]


def _source(seed=0, size=(120, 100)):
    """A "person": a bright ellipse on a dim, noisy ground."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    cv2.ellipse(picture, (50, 60), (16, 40), 0, 0, 360, (250, 240, 250), -1)
    person = np.array([[34, 20, 66, 100]], np.float32)
    return LabelledPicture(f"{seed}", picture, person, np.zeros((0, 4), np.float32), person)


def test_grid_follows_the_network_s_order():
    points, strides = grid(64, 96, 0.5)
    assert points.shape == (8 * 12 + 4 * 6 + 2 * 3, 2)
    assert points[0].tolist() == [4, 4]
    assert points[1].tolist() == [12, 4]
    assert strides[-1].item() == 32
    assert grid(64, 96, 0.0)[0][1].tolist() == [8, 0]


def test_boxes_at_measures_from_the_point():
    points, strides = torch.tensor([[20.0, 30.0]]), torch.tensor([[8.0]])
    distances = torch.log(torch.tensor([[[1.0, 2.0, 3.0, 0.5]]]))
    assert torch.allclose(boxes_at(points, strides, distances), torch.tensor([12.0, 14, 44, 34]))


def test_overlaps_of_known_boxes():
    a = torch.tensor([[0.0, 0, 10, 10]])
    b = torch.tensor([[5.0, 0, 15, 10]])
    assert pairwise_iou(a[None], b[None]).item() == pytest.approx(1 / 3)
    assert giou(a, b).item() == pytest.approx(1 / 3)
    assert giou(a, torch.tensor([[20.0, 0, 30, 10]])).item() == pytest.approx(-1 / 3)
    assert pairwise_iou(a[None], torch.zeros(1, 1, 4)).item() == 0


def test_assignment_takes_points_inside_the_person_only():
    points, _ = grid(64, 64, 0.5)
    truth = torch.tensor([[[10.0, 10, 40, 60], [0, 0, 0, 0]]])
    boxes = truth[:, :1].expand(1, len(points), 4)
    target, owner = assign(torch.full((1, len(points)), 0.5), boxes, points, truth)
    chosen = target[0] > 0
    assert chosen.sum() == 9
    assert (points[chosen] > torch.tensor([10.0, 10])).all()
    assert (points[chosen] < torch.tensor([40.0, 60])).all()
    assert target.max() == pytest.approx(1.0)
    assert (owner[0][chosen] == 0).all()


def test_ignored_regions_cost_nothing():
    points, _ = grid(64, 64, 0.5)
    logits = torch.full((1, len(points)), 2.0)
    boxes = torch.cat((points - 8, points + 8), -1)[None]
    none = torch.zeros(1, 1, 4)
    everything = torch.tensor([[[-1.0, -1, 65, 65]]])
    assert detection_loss(logits, boxes, points, none, none)[0] > 1
    assert detection_loss(logits, boxes, points, none, everything)[0] == 0


def test_labels_prefer_fitting_machine_boxes_and_add_the_missing_person():
    fitting = Record("a", 100, 120, JOINTS, boxes=[(36, 16, 66, 90, 0.8)])
    persons, unsure = label_boxes([fitting])
    assert persons.tolist() == [[36, 16, 66, 90]]
    assert len(unsure) == 0
    parts = Record("a", 100, 120, JOINTS, boxes=[(40, 20, 60, 40, 0.6), (0, 0, 20, 20, 0.4)])
    persons, unsure = label_boxes([parts])
    assert persons.shape == (1, 4)
    assert persons[0, 3] > 85
    assert unsure.tolist() == [[0, 0, 20, 20]]
    doubtful = Record("a", 100, 120, JOINTS, weight=0.1)
    persons, unsure = label_boxes([doubtful])
    assert (len(persons), len(unsure)) == (0, 1)
    annotated = Record(
        "a", 100, 120, JOINTS, boxes=[(36, 16, 66, 90, 0.8)], true_box=(35, 15, 65, 95)
    )
    assert label_boxes([annotated])[0].tolist() == [[35, 15, 65, 95]]


def test_canvases_are_reproducible_and_boxes_lie_on_them():
    sources = [_source(i) for i in range(3)]
    composer, again = (Composer(sources, 64, seed=5) for _ in range(2))
    count = 0
    for _ in range(60):
        canvas, persons, unsure = composer.canvas()
        np.testing.assert_array_equal(canvas, again.canvas()[0])
        assert canvas.shape == (3, 64, 64)
        assert canvas.dtype == np.float32
        assert canvas.min() >= 0
        assert canvas.max() <= 255
        for boxes in (persons, unsure):
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert (boxes >= 0).all()
            assert (boxes <= 64).all()
        count += len(persons)
    assert count > 30
    assert len(Composer(sources, 64, seed=1).canvas(empty=True)[1]) == 0


def test_a_person_on_a_canvas_lies_in_his_box():
    composer = Composer([_source()], 96, seed=3)
    composer._degrade = lambda canvas: canvas  # colours as composed
    bright = []
    for _ in range(40):
        canvas, persons, _ = composer.canvas()
        for x0, y0, x1, y1 in persons:
            cx, cy = int((x0 + x1) / 2), int((y0 + y1) / 2)
            bright.append(canvas[:, cy, cx].mean())
    assert np.mean(np.array(bright) > 120) > 0.6  # tinted, cut off or covered now and then


def test_the_loss_falls_on_a_few_canvases():
    torch.manual_seed(0)
    batch = next(Batches([_source(i) for i in range(2)], (64, 64), 4, 0, 1.0)(0, Processes()))
    model = Lite0Detector(channels=16).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(25):
        raw = model.raw(batch["image"])
        loss = sum(detection_loss(*raw, batch["truth"], batch["ignore"]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_frozen_parts_stay_as_they_are():
    model = Lite0Detector(channels=16)
    model.train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model.raw(torch.randn(2, 3, 64, 64))[0].sum().backward()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.backbone.stem[0].weight.grad is None
    assert model.backbone.groups[3][0].body[0][0].weight.grad is not None


def test_the_exported_network_agrees_with_torch(tmp_path):
    torch.manual_seed(1)
    model = Lite0Detector(channels=16)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # else folding would have nothing to do
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.eval()
    path = training.export_detector(model, tmp_path / "detector.onnx", (96, 64))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = torch.randn(1, 3, 96, 96)
    boxes, scores = session.run(["boxes", "scores"], {"image": image.numpy()})
    with torch.no_grad():
        want_boxes, want_scores = model(image)
    assert boxes.shape == (1, 12 * 12 + 6 * 6 + 3 * 3, 4)
    # The weights of the file are rounded to float16.
    np.testing.assert_allclose(boxes, want_boxes.numpy(), atol=0.3)
    np.testing.assert_allclose(scores, want_scores.numpy(), atol=1e-3)
    deployable(model)
    with torch.no_grad():
        want_boxes, want_scores = model(image)
    np.testing.assert_allclose(boxes, want_boxes.numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, want_scores.numpy(), atol=1e-6)


def test_training_from_files_writes_a_checkpoint_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("edgepose.train.networks.Lite0.load_imagenet", lambda self: None)
    (tmp_path / "set").mkdir()
    lines = []
    for i, split in enumerate(["train", "train", "val"]):
        cv2.imwrite(str(tmp_path / "set" / f"{i}.png"), _source(i).picture)
        boxes = [(34.0, 20.0, 66.0, 100.0, 0.9)]
        lines.append(
            {"image": f"{i}.png", "width": 100, "height": 120, "joints": JOINTS, "boxes": boxes}
            | {"split": split}
        )
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = DetectorRecipe(1, network="lite0", size=(64, 96), batch=2)
    config = training.DetectorConfig(
        [tmp_path / "set.jsonl"],
        tmp_path / "run",
        recipe,
        Plan(steps=2),
    )
    checkpoint = training.train_detector(config)
    model = training.load_detector(checkpoint, recipe)
    assert not model.training
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"recall", "precision", "step"} <= set(last)


def test_measure_counts_hits_and_false_persons():
    source = _source()

    def network(inputs):
        boxes = np.array([[[34 + 10, 20, 66 + 10, 100], [0, 0, 30, 30]]], np.float32) * 64 / 120
        return boxes, np.array([[0.9, 0.8]], np.float32)

    result = training.measure(Detector(network, 64), [source])
    assert result["recall"] == 1
    assert result["precision"] == 0.5


def test_a_widened_picture_holds_the_old_one_and_nobody_else():
    source = _source()
    rng, grown = np.random.default_rng(2), []
    for _ in range(20):
        wide = widen(source, rng)
        x0, y0, x1, y1 = (round(float(v)) for v in wide.persons[0])
        left, top = x0 - 34, y0 - 20
        old = wide.picture[top : top + 120, left : left + 100]
        np.testing.assert_array_equal(old, source.picture)
        rest = wide.picture.copy()
        rest[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2] = 0
        assert rest.max() < 100  # the ground is dim, the person bright
        grown.append(wide.picture.shape[1] / 100)
    assert max(grown) > 1.5


def test_a_picture_with_the_person_at_its_border_is_not_widened_there():
    source = _source()
    cut = LabelledPicture(
        "cut", source.picture[:, 40:], source.persons - [[40, 0, 40, 0]], *[source.unsure] * 2
    )
    cut = LabelledPicture(
        "cut", cut.picture, np.clip(cut.persons, 0, None), cut.unsure, cut.annotated
    )
    wide = widen(cut, np.random.default_rng(2))
    assert wide.persons[0, 0] == 0
