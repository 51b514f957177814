"""The arithmetic between networks: the CUDA kernels' source on the host against ``geometry.py``."""

from __future__ import annotations

import gpu_boxes
import numpy as np
import pytest
from gpu_boxes import error, random_boxes

from edgepose import _host, geometry
from edgepose.crop import crop, native, surfaces
from edgepose.crop.normalisation import normalisation
from edgepose.skeleton import COCO17, LSP14
from tests.crop import cuda_host

STEPS = gpu_boxes.Steps(_host, cuda_host.upload, lambda array: array.owner)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize("skeleton", [LSP14, COCO17], ids=lambda s: s.name)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
@pytest.mark.parametrize("hostile", [False, True])
def test_stages_agree_with_geometry(skeleton, n, hostile):
    rng = np.random.default_rng(n)
    assert gpu_boxes.stages(STEPS, skeleton, n, hostile, rng) <= 1


@pytest.mark.parametrize("n", [0, 1, 33, 200])
def test_square_boxes(n):
    rng = np.random.default_rng(n)
    boxes = random_boxes(rng, n)
    boxes[3::7, rng.integers(4)] = np.nan
    boxes[5::7, 2] = np.inf
    boxes[6::7] = boxes[6::7, ::-1]  # inverted
    for count in (None, 0, n // 2, n):
        out = STEPS.square(boxes, 1.25, count)
        used = n if count is None else count
        with np.errstate(invalid="ignore"):
            assert error(out[:used], geometry.square_boxes(boxes[:used], 1.25)) <= 1
        assert (out[used:] == 0).all()


def test_an_error_is_seen():
    """What holds a GPU to the definition is held itself."""
    wanted = np.array([[1.0, 2000.0], [np.nan, 1.0]], np.float32)
    assert error(wanted, wanted) == 0
    assert error(wanted + np.float32([[0.015, 0], [0, 0]]), wanted) == pytest.approx(0.75, rel=0.01)
    assert error(wanted + np.float32([[0.03, 0], [0, 0]]), wanted) > 1
    assert error(np.nan_to_num(wanted), wanted) == np.inf
    assert error(np.full_like(wanted, np.nan), wanted) == np.inf
    assert error(wanted[:1], wanted) == np.inf

    class Wrong(gpu_boxes.Steps):
        def step(self, *arguments, **options):
            found = super().step(*arguments, **options)
            return found._replace(index=found.index + 1)

    wrong = Wrong(_host, cuda_host.upload, lambda array: array.owner)
    assert gpu_boxes.stages(wrong, LSP14, 3, False, np.random.default_rng(0)) == np.inf


@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_spare_rows_are_empty(count):
    rng = np.random.default_rng(3)
    k = len(LSP14)
    index = rng.integers(1, 4, 8)
    boxes = random_boxes(rng, 8)
    normalised = rng.normal(0, 0.3, (8, k, 2)).astype(np.float32)
    boxes[count:] = np.nan  # left over from before
    normalised[count:] = np.nan
    found = STEPS.step(LSP14, boxes, normalised, count=count, index=index)
    whole = STEPS.step(LSP14, boxes[:count], normalised[:count], index=index)
    for got, wanted in zip(found, whole, strict=True):
        np.testing.assert_array_equal(got[:count], wanted)
        assert (got[count:] == 0).all()


@pytest.mark.parametrize("count", [-1, 9, 2**31 - 1])
def test_an_absurd_count_stays_within_the_rows(count):
    boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (2, 1))
    found = STEPS.step(LSP14, boxes, np.zeros((2, len(LSP14), 2), np.float32), count=count)
    wanted = np.full_like(found.points, 4.5 if count > 0 else 0)
    np.testing.assert_array_equal(found.points, wanted)


def test_a_replay_reads_the_count_of_its_time():
    """The record keeps the pointer, not the number."""
    boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (3, 1))
    count = np.array([1], np.int32)
    rows = _host.Rows(3, 1, address(count))
    out = np.full((3, 4), np.nan, np.float32)
    for used in (1, 3, 0):
        count[0] = used
        _host.square_boxes(rows, address(boxes), 1.0, address(out), 0, 0)
        assert (out[:used] == boxes[:used]).all()
        assert (out[used:] == 0).all()


def test_in_place_and_without_next_boxes():
    rng = np.random.default_rng(5)
    k = len(LSP14)
    points = rng.uniform(0, 500, (4, k, 2)).astype(np.float32)
    boxes, moves = random_boxes(rng, 4, k), rng.normal(0, 0.1, (4, k, 2)).astype(np.float32)
    wanted = geometry.refine(points, moves, boxes)
    rows = _host.Rows(4, k)
    _host.refine(rows, address(points), address(moves), address(boxes), None, address(points), 0, 0)
    assert error(points, wanted) <= 1


def test_an_absurd_pose_has_bounded_boxes():
    boxes = np.array([[0, 0, 1e7, 1e7]], np.float32)
    spread = np.linspace(-1, 1, 2 * len(LSP14), dtype=np.float32).reshape(1, -1, 2)
    found = STEPS.step(LSP14, boxes, spread)
    side = found.boxes[..., 2:] - found.boxes[..., :2]
    assert (np.abs(side - geometry.MAX_SIDE) <= 1).all()  # 1 is a float's step out there
    assert geometry.MAX_SIDE == _host.MAX_SIDE


@pytest.mark.parametrize(
    ("rows", "points", "pairs"),
    [
        (-1, 3, ((0, 1), (1, 2))), (1, 0, ((0, 0), (0, 0))),
        (1, _host.MAX_POINTS + 1, ((0, 1), (1, 2))),
        (1, 3, ((0, 1), (1, 3))), (1, 3, ((-1, 1), (1, 2))),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(rows, points, pairs):
    room = np.zeros(4096, np.float32)
    following = _host.NextBoxes(1.0, pairs, gpu_boxes.FLOOR, 0, address(room), 0)
    record = _host.Rows(rows, points)
    with pytest.raises(_host.Error, match="could not launch the kernel that denormalises"):
        _host.denormalise(record, address(room), address(room), following, address(room), 0, 0)


def test_the_crop_reads_what_the_boxes_wrote():
    """A row's point boxes and frame indices go straight into the crop; spare ones give padding."""
    rng = np.random.default_rng(8)
    k, n, count = len(LSP14), 4, 3
    images = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(2)]
    table, _ = surfaces.rows([cuda_host.upload(image) for image in images])
    boxes = np.tile(np.array([[20, 10, 90, 80]], np.float32), (n, 1))
    normalised = rng.normal(0, 0.2, (n, k, 2)).astype(np.float32)
    found = STEPS.step(LSP14, boxes, normalised, count=count, index=np.array([0, 1, 1, 0]))
    colour = normalisation(1 / 255, (0.5, 0.4, 0.3), border=(0, 128, 255))
    out = np.full((n * k, 3, 8, 8), np.nan, np.float32)
    _host.crop(
        _host.Frames(0, address(table), 2, True), address(found.boxes), address(found.index),
        n * k, _host.CropSpec(8, 8, False, colour), address(out), 0, 0,
    )  # fmt: skip
    wanted = crop(
        images, found.boxes.reshape(-1, 4), 8, frame_index=found.index.ravel(), scale=1 / 255,
        mean=(0.5, 0.4, 0.3), border=(0, 128, 255), impl="reference",
    )  # fmt: skip
    np.testing.assert_allclose(out, wanted, atol=0.02 / 255)
    padding = np.broadcast_to(np.float32(colour.padding)[:, None, None], (k, 3, 8, 8))
    np.testing.assert_array_equal(out[count * k :], padding)


@pytest.mark.skipif(native._cuda is None, reason="built without CUDA: no nvcc was found")
def test_the_gpu_module_has_the_same_face():
    public = {name for name in dir(_host) if not name.startswith("_")}
    assert public <= set(dir(native._cuda))
