from itertools import islice

import cv2
import numpy as np
import pytest

from edgepose.errors import TrainingError
from edgepose.skeleton import LSP14
from edgepose.train.crops import HolisticCrops, RefineCrops
from edgepose.train.distributed import Processes
from edgepose.train.examples import EpochSampler, Example
from edgepose.train.recipe import Augment, StageRecipe

LEFT = np.array([j.startswith("left") for j in LSP14.joints])
RIGHT = np.array([j.startswith("right") for j in LSP14.joints])


@pytest.fixture(scope="module")
def person() -> Example:
    """A grey picture with a disc on each joint: red on the right side, blue on the left."""
    rng = np.random.default_rng(3)
    picture = np.full((240, 200, 3), 90, np.uint8)
    joints = np.stack([rng.uniform(50, 150, 14), rng.uniform(50, 190, 14)], -1).astype(np.float32)
    # Apart from each other, so that discs do not hide one another.
    joints[:, 1] = np.linspace(50, 190, 14)
    for i, (x, y) in enumerate(joints):
        colour = (255, 0, 0) if LEFT[i] else (0, 0, 255) if RIGHT[i] else (0, 255, 0)
        cv2.circle(picture, (round(float(x)), round(float(y))), 4, colour, -1)
    return Example(
        picture, joints, np.ones(14, bool), np.array([40, 40, 160, 200], np.float32), 1.0
    )


def stage(augment: Augment, kind="holistic", extent=1.15, **more) -> StageRecipe:
    return StageRecipe(kind, "lite0", [64], extent, 4, 1.0, augment=augment, **more)


def holistic(example, size, augment) -> HolisticCrops:
    return HolisticCrops([example], LSP14, stage(augment), size, seed=1)


def dominant(crop: np.ndarray, point: np.ndarray) -> int:
    """Which of R, G, B stands out at a normalised point of a crop (3, S, S)."""
    x, y = ((point + 0.5) * crop.shape[-1]).astype(int)
    return int(crop[:, y, x].argmax())


@pytest.mark.parametrize("epoch", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_stage_one_targets_lie_on_the_joints(person, epoch, flip):
    augment = Augment(any_rotation=0.5, colour=0.0, flip=flip)
    data = holistic(person, 128, augment)
    item = data[(epoch, 0)]
    assert item["crop"].shape == (3, 128, 128)
    seen = item["inside"] > 0
    assert seen.sum() >= 7
    channels = [
        dominant(item["crop"], item["target"][i]) == (2 if LEFT[i] else 0)
        for i in np.flatnonzero(seen & (LEFT | RIGHT))
        if (np.abs(item["target"][i]) < 0.48).all()
    ]
    # In a mirrored picture the discs of the left joints lie on the right ones, and all do.
    assert all(channels) or (flip and not any(channels))


def test_erasing_covers_parts_and_leaves_the_rest(person):
    plain = holistic(person, 96, Augment(colour=0.0))
    erased = holistic(person, 96, Augment(colour=0.0, erase=1.0))
    for epoch in range(8):
        a, b = plain[(epoch, 0)], erased[(epoch, 0)]
        share = (a["crop"] != b["crop"]).any(0).mean()
        assert 0.005 < share < 0.4
        assert (a["target"] == b["target"]).all()
        assert (a["inside"] == b["inside"]).all()


def test_items_repeat_by_epoch_and_index(person):
    data = holistic(person, 64, Augment())
    assert np.array_equal(data[(2, 0)]["crop"], data[(2, 0)]["crop"])
    assert not np.array_equal(data[(2, 0)]["crop"], data[(3, 0)]["crop"])


@pytest.mark.parametrize("epoch", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_refine_targets_lie_on_the_joints(person, epoch, flip):
    rng = np.random.default_rng(0)
    estimates = person.joints + rng.normal(0, 6, (1, 2, 14, 2)).astype(np.float32)
    augment = Augment(any_rotation=0.5, colour=0.0, flip=flip)
    recipe = stage(augment, "refine", 2.0, crops=8)
    data = RefineCrops([person], estimates, LSP14, recipe, 64, seed=1)
    item = data[(epoch, 0)]
    assert item["crop"].shape == (8, 3, 64, 64)
    inside = np.flatnonzero(item["inside"] > 0)
    assert len(inside) >= 6
    channels = [
        dominant(item["crop"][i], item["target"][i]) == (2 if LEFT[item["joint"][i]] else 0)
        for i in inside
        if (LEFT | RIGHT)[item["joint"][i]] and (np.abs(item["target"][i]) < 0.45).all()
    ]
    assert all(channels) or (flip and not any(channels))


def test_sampler_goes_on_where_it_stopped():
    repeats = [1, 2, 1, 1]
    first = list(islice(iter(EpochSampler(repeats, 7, 4)), 20))
    assert list(islice(iter(EpochSampler(repeats, 7, 4, step=2)), 12)) == first[8:]
    assert sorted(index for _, index in first[5:10]) == [0, 1, 1, 2, 3]
    assert [index for _, index in first[:5]] != [index for _, index in first[5:10]]
    # The draw counts how often an example was seen before.
    assert sorted(draw for draw, index in first if index == 1) == list(range(8))
    assert sorted(draw for draw, index in first if index == 3) == list(range(4))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_cover_each_epoch_once(count):
    repeats = [1] * 12
    shards = [
        list(islice(iter(EpochSampler(repeats, 3, 4, 0, Processes(rank, count))), 24 // count))
        for rank in range(count)
    ]
    share = 4 // count
    whole = [key for t in range(6) for s in shards for key in s[t * share : (t + 1) * share]]
    assert whole == list(islice(iter(EpochSampler(repeats, 3, 4)), 24))
    for epoch in range(2):
        assert sorted(whole[12 * epoch : 12 * epoch + 12]) == [(epoch, i) for i in range(12)]


def test_a_batch_that_does_not_come_out_even():
    with pytest.raises(TrainingError, match="batch of 32 cannot be split over 3"):
        EpochSampler([1], 0, 32, 0, Processes(0, 3))
