import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgepose.train.detector_batches import Batches  # noqa: E402
from edgepose.train.detector_data import LabelledPicture, box_rows  # noqa: E402
from edgepose.train.detector_light import relit  # noqa: E402
from edgepose.train.detector_scenes import SceneCanvases  # noqa: E402
from edgepose.train.distributed import Processes  # noqa: E402


def scene(people=1, size=(150, 200)):
    """Bright ellipses, the "persons", on dim noise; whole pictures."""
    rng = np.random.default_rng(people)
    picture = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    boxes = [[30 + 60 * i, 40, 60 + 60 * i, 120] for i in range(people)]
    for x0, y0, x1, y1 in boxes:
        centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (250, 240, 250), -1)
    rows = box_rows(boxes)
    return LabelledPicture(f"{people}", picture, rows, box_rows([]), rows, True)


def test_canvases_are_reproducible_and_boxes_lie_on_them():
    scenes = [scene(0), scene(1), scene(2)]
    one, again = (SceneCanvases(scenes, [], seed=4) for _ in range(2))
    found = 0
    for height, width in [(64, 96), (96, 64)] * 25:
        levels, persons, unsure = one.canvas(height, width)
        np.testing.assert_array_equal(levels, again.canvas(height, width)[0])
        assert levels.shape == (3, height, width)
        assert levels.dtype == np.float32
        assert 0 <= levels.min() <= levels.max() <= 255
        for boxes in (persons, unsure):
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
        found += len(persons)
    assert found > 30


def test_persons_lie_in_their_boxes(monkeypatch):
    monkeypatch.setattr("edgepose.train.detector_scenes.relit", lambda levels, *_: levels)
    canvases, bright = SceneCanvases([scene(1), scene(2)], [], seed=1), []
    for _ in range(60):
        levels, persons, _ = canvases.canvas(96, 128)
        bright += [
            levels[:, int((y0 + y1) / 2), int((x0 + x1) / 2)].mean() for x0, y0, x1, y1 in persons
        ]
    assert len(bright) > 60
    assert np.mean(np.array(bright) > 200) > 0.9  # cut off in the middle now and then


def test_what_is_hardly_seen_is_neither_person_nor_background(monkeypatch):
    monkeypatch.setattr("edgepose.train.detector_scenes.relit", lambda levels, *_: levels)
    far = SceneCanvases([scene(1, (750, 1000))], [], seed=1)  # a person of 80 in 1000 pixels
    outcomes = [far.canvas(64, 96)[1:] for _ in range(40)]
    assert sum(len(persons) for persons, _ in outcomes) == 0
    assert sum(len(unsure) for _, unsure in outcomes) > 10


def test_light_keeps_the_range_and_puts_persons_against_it():
    rng = np.random.default_rng(0)
    levels = np.full((3, 40, 60), 120, np.float32)
    person = np.array([[20, 10, 40, 30]], np.float32)
    darker = []
    for _ in range(200):
        lit = relit(levels, person, rng)
        assert lit.shape == levels.shape
        assert 0 <= lit.min() <= lit.max() <= 255
        darker.append(lit[:, 20, 30].mean() < 0.8 * lit[:, 2, 2].mean())
    assert 10 < sum(darker) < 80


def test_batches_come_in_both_orientations_and_as_composed_squares():
    crop = LabelledPicture(
        "crop", *(getattr(scene(1), n) for n in ("picture", "persons", "unsure", "annotated"))
    )
    batches = Batches([scene(0), scene(1), crop], (64, 160), 2, 0, 0.3)(0, Processes())
    shapes = []
    for _ in range(20):
        batch = next(batches)
        shapes.append(tuple(batch["image"].shape[2:]))
        assert batch["truth"].shape == batch["ignore"].shape == (2, 40, 4)
        assert batch["image"].abs().max() < 1.01
    assert set(shapes) == {(64, 160), (160, 64), (96, 96)}
