"""The face: defaults, and one clear error per argument."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from edgepose.crop import crop, valid_boxes

IMAGE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
BOX = [[0, 0, 4, 4]]


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def test_defaults_give_rgb_levels_in_float32():
    got = crop(IMAGE, [[0, 0, 7, 5]], (5, 7))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[0], IMAGE[:, :, ::-1].transpose(2, 0, 1))


def test_an_int_is_a_square():
    assert crop(IMAGE, BOX, 4).shape == (1, 3, 4, 4)
    assert crop(IMAGE, BOX, np.int32(4)).shape == (1, 3, 4, 4)
    assert crop(IMAGE, BOX, [2, 3]).shape == (1, 3, 2, 3)


def test_no_boxes_and_no_frames():
    none = np.empty((0, 4), np.float32)
    assert crop(IMAGE, none, 4).shape == (0, 3, 4, 4)
    assert crop([], none, 4).shape == (0, 3, 4, 4)
    assert crop([IMAGE, IMAGE], none, 4, frame_index=np.empty(0, int)).shape == (0, 3, 4, 4)
    assert valid_boxes(none).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8, ">f4"])
def test_boxes_of_other_number_types(dtype):
    boxes = np.array(BOX, dtype)
    np.testing.assert_array_equal(crop(IMAGE, boxes, 4), crop(IMAGE, BOX, 4))
    np.testing.assert_array_equal(
        crop(IMAGE, np.repeat(boxes, 2, axis=1)[:, ::2], 4), crop(IMAGE, BOX, 4)
    )


def test_boxes_too_large_for_float32_are_not_croppable():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not valid_boxes([[0, 0, 1e300, 4]]).any()
        assert not crop(IMAGE, [[0, 0, 1e300, 4]], 4).any()


def test_valid_boxes():
    boxes = [
        [0, 0, 1, 1], [-50, -50, -40, -40], [0, 0, 2**24, 1], [0, 0, 2**24 + 2, 1],
        [0, 0, 0, 1], [1, 0, 0, 1], [0, 0, np.inf, 1], [np.nan, 0, 1, 1],
    ]  # fmt: skip
    assert valid_boxes(boxes).tolist() == [True] * 3 + [False] * 5


@pytest.mark.parametrize("impl", ["auto", "cpu", "reference"])
def test_frame_index_dtypes(impl):
    frames = [IMAGE, IMAGE[::-1]]
    expected = crop(IMAGE[::-1], BOX, 4, impl=impl)
    for dtype in (np.int64, np.int32, np.uint8):
        got = crop(frames, BOX, 4, frame_index=np.ones(1, dtype), impl=impl)
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(crop(frames, BOX, 4, frame_index=[1], impl=impl), expected)


BAD = [
    ("frames", {"frames": "frame.png"}),
    ("frames", {"frames": None}),
    ("frames", {"frames": IMAGE.astype(np.float32)}),
    ("frames", {"frames": IMAGE[:, :, 0]}),
    ("frames", {"frames": IMAGE[None]}),
    ("frames", {"frames": np.zeros((4, 4, 4), np.uint8)}),
    ("frames", {"frames": IMAGE[:0]}),
    ("frames", {"frames": IMAGE[:, :0]}),
    (r"frames\[1\]", {"frames": [IMAGE, IMAGE[0]], "frame_index": [0]}),
    (r"frames\[1\]", {"frames": [IMAGE, None], "frame_index": [0]}),
    ("boxes", {"boxes": [0, 0, 4, 4]}),
    ("boxes", {"boxes": [[0, 0, 4]]}),
    ("boxes", {"boxes": [[0, 0, 4], [0]]}),
    ("boxes", {"boxes": np.zeros((2, 5))}),
    ("boxes", {"boxes": np.zeros((2, 4), complex)}),
    ("boxes", {"boxes": [["0", "0", "4", "4"]]}),
    ("boxes", {"boxes": None}),
    ("size", {"size": 0}),
    ("size", {"size": (4, -1)}),
    ("size", {"size": 4.5}),
    ("size", {"size": (4, 4, 4)}),
    ("size", {"size": "4"}),
    ("size", {"size": 2**40}),
    ("frame_index", {"frame_index": [1]}),
    ("frame_index", {"frame_index": [-1]}),
    ("frame_index", {"frame_index": [0, 0]}),
    ("frame_index", {"frame_index": [[0]]}),
    ("frame_index", {"frame_index": [0.0]}),
    ("frame_index", {"frame_index": np.array([2**64 - 1], np.uint64)}),
    ("frame_index", {"frames": [IMAGE, IMAGE]}),
    ("frame_index", {"frames": []}),
    ("scale", {"scale": 0}),
    ("scale", {"scale": np.nan}),
    ("scale", {"scale": "1"}),
    ("scale", {"scale": (1.0, 1.0, 1.0)}),
    ("scale", {"scale": 1e39}),
    ("mean", {"mean": 0.5}),
    ("mean", {"mean": (0.5, 0.5)}),
    ("mean", {"mean": (0.5, 0.5, np.inf)}),
    ("mean", {"mean": None}),
    ("mean", {"mean": "123"}),
    ("mean", {"mean": (10**400, 0, 0)}),
    ("std", {"std": (1, 0, 1)}),
    ("std", {"std": (1, np.nan, 1)}),
    ("std", {"std": (1e-40, 1, 1)}),
    ("border", {"border": 128}),
    ("border", {"border": (0, 0, np.nan)}),
    ("border", {"border": (0, 0, 1e300)}),
    ("dtype", {"dtype": np.float64}),
    ("dtype", {"dtype": np.uint8}),
    ("dtype", {"dtype": "float31"}),
    ("out", {"out": np.zeros((1, 3, 4, 4))}),
    ("out", {"out": np.zeros((1, 3, 4, 4), np.float16)}),
    ("out", {"out": np.zeros((1, 3, 4, 5), np.float32)}),
    ("out", {"out": np.zeros((3, 4, 4), np.float32)}),
    ("out", {"out": np.zeros((1, 3, 4, 8), np.float32)[..., ::2]}),
    ("out", {"out": np.zeros((1, 3, 4, 4), np.float32, order="F")}),
    ("out", {"out": read_only(np.zeros((1, 3, 4, 4), np.float32))}),
    ("out", {"out": [0.0]}),
    ("out", {"out": np.zeros((1, 3, 4, 4), ">f4")}),
    ("impl", {"impl": "gpu"}),
    ("threads", {"threads": 0}),
    ("threads", {"threads": 1.5}),
    ("threads", {"threads": 10**9}),
    ("threads", {"threads": None}),
    ("impl", {"impl": None}),
]


@pytest.mark.parametrize(("name", "arguments"), BAD)
def test_a_bad_argument_is_named(name, arguments):
    call = {"frames": IMAGE, "boxes": BOX, "size": 4, **arguments}
    with pytest.raises(ValueError, match=name):
        crop(**call)


def test_valid_boxes_names_its_argument():
    with pytest.raises(ValueError, match="boxes"):
        valid_boxes(np.zeros((2, 3)))
