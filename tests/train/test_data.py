from itertools import islice

import cv2
import numpy as np
import pytest

from edgepose.skeleton import LSP14
from edgepose.train.data import (
    Augment,
    EpochSampler,
    Person,
    RefineData,
    StageOneData,
    fit_displacements,
)

LEFT = np.array([j.startswith("left") for j in LSP14.joints])
RIGHT = np.array([j.startswith("right") for j in LSP14.joints])


@pytest.fixture(scope="module")
def person() -> Person:
    """A grey picture with a disc on each joint: red on the right side, blue on the left."""
    rng = np.random.default_rng(3)
    picture = np.full((240, 200, 3), 90, np.uint8)
    joints = np.stack([rng.uniform(50, 150, 14), rng.uniform(50, 190, 14)], -1).astype(np.float32)
    # Apart from each other, so that discs do not hide one another.
    joints[:, 1] = np.linspace(50, 190, 14)
    for i, (x, y) in enumerate(joints):
        colour = (255, 0, 0) if LEFT[i] else (0, 0, 255) if RIGHT[i] else (0, 255, 0)
        cv2.circle(picture, (round(float(x)), round(float(y))), 4, colour, -1)
    return Person(picture, joints, np.ones(14, bool), np.array([40, 40, 160, 200], np.float32), 1.0)


def dominant(crop: np.ndarray, point: np.ndarray) -> int:
    """Which of R, G, B stands out at a normalised point of a crop (3, S, S)."""
    x, y = ((point + 0.5) * crop.shape[-1]).astype(int)
    return int(crop[:, y, x].argmax())


@pytest.mark.parametrize("epoch", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_stage_one_targets_lie_on_the_joints(person, epoch, flip):
    augment = Augment(any_rotation=0.5, colour=0.0, flip=flip)
    data = StageOneData([person], 128, 1.15, augment, seed=1)
    item = data[(epoch, 0)]
    assert item["crop"].shape == (3, 128, 128)
    seen = item["mask"] > 0
    assert seen.sum() >= 7
    channels = [
        dominant(item["crop"], item["target"][i]) == (2 if LEFT[i] else 0)
        for i in np.flatnonzero(seen & (LEFT | RIGHT))
        if (np.abs(item["target"][i]) < 0.48).all()
    ]
    # In a mirrored picture the discs of the left joints lie on the right ones, and all do.
    assert all(channels) or (flip and not any(channels))


def test_erasing_covers_parts_and_leaves_the_rest(person):
    plain = StageOneData([person], 96, 1.15, Augment(colour=0.0), seed=1)
    erased = StageOneData([person], 96, 1.15, Augment(colour=0.0, erase=1.0), seed=1)
    for epoch in range(8):
        a, b = plain[(epoch, 0)], erased[(epoch, 0)]
        share = (a["crop"] != b["crop"]).any(0).mean()
        assert 0.005 < share < 0.4
        assert (a["target"] == b["target"]).all()
        assert (a["mask"] == b["mask"]).all()


def test_items_repeat_by_epoch_and_index(person):
    data = StageOneData([person], 64, 1.15, Augment(), seed=1)
    assert np.array_equal(data[(2, 0)]["crop"], data[(2, 0)]["crop"])
    assert not np.array_equal(data[(2, 0)]["crop"], data[(3, 0)]["crop"])


@pytest.mark.parametrize("epoch", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_refine_targets_lie_on_the_joints(person, epoch, flip):
    rng = np.random.default_rng(0)
    estimates = person.joints + rng.normal(0, 6, (1, 2, 14, 2)).astype(np.float32)
    augment = Augment(any_rotation=0.5, colour=0.0, flip=flip)
    data = RefineData([person], estimates, 64, 2.0, 8, augment, seed=1)
    item = data[(epoch, 0)]
    assert item["crop"].shape == (8, 3, 64, 64)
    inside = np.flatnonzero(item["mask"] > 0)
    assert len(inside) >= 6
    channels = [
        dominant(item["crop"][i], item["target"][i]) == (2 if LEFT[item["joint"][i]] else 0)
        for i in inside
        if (LEFT | RIGHT)[item["joint"][i]] and (np.abs(item["target"][i]) < 0.45).all()
    ]
    assert all(channels) or (flip and not any(channels))


def test_fitted_displacements_match_the_errors(person):
    rng = np.random.default_rng(0)
    people = [person] * 400
    noise = rng.normal(0, 3, (400, 2, 14, 2)).astype(np.float32)
    noise[:, :, 4] += 5
    mean, deviation = fit_displacements(people, person.joints + noise, sigma=2.0)
    assert mean.shape == deviation.shape == (14, 2)
    assert (mean[4] < mean[5] - 0.01).all()
    assert deviation.min() > 0


def test_sampler_goes_on_where_it_stopped():
    indices = np.array([0, 1, 1, 2, 3])
    first = list(islice(iter(EpochSampler(indices, 7)), 20))
    assert list(islice(iter(EpochSampler(indices, 7, start=8)), 12)) == first[8:]
    assert sorted(i for epoch, i in first if epoch == 1) == [0, 1, 1, 2, 3]
    assert first[:5] != first[5:10]
