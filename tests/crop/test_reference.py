"""Properties of the definition itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgepose.crop import crop, reference

quick = settings(max_examples=60, deadline=None)
sizes = st.integers(1, 40)
edges = st.floats(-60.0, 120.0, width=32)
sides = st.floats(1 / 64, 300.0, width=32)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def planar_rgb(image: np.ndarray) -> np.ndarray:
    return image[:, :, ::-1].transpose(2, 0, 1)


@quick
@given(edges, sides, sizes, st.integers(1, 90), st.booleans())
def test_weights_sum_to_the_share_of_the_window_inside(lo, side, size, extent, antialias):
    weights = reference.weights(lo, lo + side, size, extent, antialias)
    step = side / size
    window = max(1.0, step) if antialias else 1.0
    centre = lo + (np.arange(size) + 0.5) * step
    inside = np.clip(centre + window / 2, 0, extent) - np.clip(centre - window / 2, 0, extent)
    assert weights.shape == (size, extent)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), inside / window, atol=1e-9)


@quick
@given(st.floats(2.0, 30.0), st.floats(0.5, 60.0), sizes, st.booleans())
def test_weights_sum_to_one_inside_the_frame(lo, side, size, antialias):
    weights = reference.weights(lo, lo + side, size, 96, antialias)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)


@quick
@given(st.integers(0, 20), st.integers(0, 20), sizes, sizes, st.booleans())
def test_a_box_on_the_pixel_grid_is_a_slice(x, y, height, width, antialias):
    image = noise(64, 64)
    box = [[x, y, x + width, y + height]]
    got = crop(image, box, (height, width), antialias=antialias, impl="reference")[0]
    np.testing.assert_array_equal(got, planar_rgb(image[y : y + height, x : x + width]))


@quick
@given(st.floats(0.0, 20.0), sizes, st.floats(1e-9, 1e-3))
def test_continuous_where_bilinear_becomes_average(lo, size, epsilon):
    below = reference.weights(lo, lo + size * (1 - epsilon), size, 64, True)
    above = reference.weights(lo, lo + size * (1 + epsilon), size, 64, True)
    assert np.abs(above - below).max() <= 4 * size * epsilon


@quick
@given(
    st.tuples(*[st.integers(0, 255)] * 3), edges, edges, sides, sides, sizes, sizes, st.booleans()
)
def test_a_constant_image_with_that_border_stays_constant(
    colour, x, y, width, height, rows, columns, antialias
):
    image = np.full((30, 40, 3), colour[::-1], np.uint8)
    box = [[x, y, x + width, y + height]]
    got = crop(image, box, (rows, columns), border=colour, antialias=antialias, impl="reference")
    expected = np.broadcast_to(np.array(colour, np.float32)[:, None, None], got.shape[1:])
    np.testing.assert_allclose(got[0], expected, atol=1e-4)


@quick
@given(st.integers(0, 9), st.integers(0, 9), st.integers(128, 1024), st.integers(1, 1024), sizes)
def test_moves_with_the_image_by_whole_pixels(dx, dy, lo, side, size):
    image = noise(64, 64)
    box = np.array([[lo, lo, lo + side, lo + side]]) / 64
    moved = crop(image, box + np.array([dx, dy, dx, dy]), size, impl="reference")
    still = crop(image[dy:, dx:], box, size, impl="reference")
    np.testing.assert_allclose(moved, still, atol=1e-4)


@quick
@given(
    st.integers(-60, 150),
    st.integers(-60, 150),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(8, 40),
    st.integers(8, 40),
)
def test_reducing_is_the_exact_area_average(x, y, rows, columns, step_y, step_x):
    """Brute force: every pixel becomes 8 x 8, so that windows in eighths are whole blocks."""
    image = noise(20, 16)
    border = (9.0, 120.0, 240.0)
    ys = (y + np.arange(rows * step_y)) // 8
    xs = (x + np.arange(columns * step_x)) // 8
    inside = ((ys >= 0) & (ys < 20))[:, None] & ((xs >= 0) & (xs < 16))
    block = planar_rgb(image[ys.clip(0, 19)][:, xs.clip(0, 15)])
    block = np.where(inside, block, np.array(border)[:, None, None])
    expected = block.reshape(3, rows, step_y, columns, step_x).mean(axis=(2, 4))
    box = np.array([[x, y, x + columns * step_x, y + rows * step_y]]) / 8
    got = crop(image, box, (rows, columns), border=border, impl="reference")
    np.testing.assert_allclose(got[0], expected, atol=1e-4)


@quick
@given(st.integers(2, 24), st.integers(2, 24), st.integers(1, 4), st.integers(1, 4))
def test_enlarging_is_half_pixel_bilinear(height, width, zoom_y, zoom_x):
    image = cv2.GaussianBlur(noise(40, 40), (3, 3), 0)
    size = (height * zoom_y, width * zoom_x)
    got = crop(image, [[8, 8, 8 + width, 8 + height]], size, impl="reference")[0]
    part = image[8 : 8 + height, 8 : 8 + width]
    expected = planar_rgb(cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR))
    # OpenCV repeats the part's edge where the crop reads on into the frame.
    my, mx = -(-zoom_y // 2), -(-zoom_x // 2)
    inner = np.s_[:, my : size[0] - my, mx : size[1] - mx]
    assume(expected[inner].size)
    assert np.abs(got[inner] - expected[inner]).max() <= 1.0


@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_taps_read_the_frame_beyond_the_box(impl):
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 2] = 200
    got = crop(image, [[1, 0, 2, 1]], (1, 4), impl=impl)
    np.testing.assert_allclose(got[0, 0, 0], [0, 0, 25, 75])


@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_the_border_is_a_colour_before_normalising(impl):
    image = np.full((2, 2, 3), (30, 20, 10), np.uint8)  # RGB 10, 20, 30
    got = crop(
        image,
        [[-2, 0, 2, 2]],
        (1, 2),
        scale=0.5,
        mean=(1, 2, 3),
        std=(1, 2, 4),
        border=(100, 50, 6),
        impl=impl,
    )
    np.testing.assert_allclose(got[0, :, 0], [[49, 4], [11.5, 4], [0, 3]], atol=1e-5)


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_padding_by_the_mean_is_exactly_zero(impl, dtype):
    image = np.full((4, 4, 3), 255, np.uint8)
    boxes = [[-9, -9, -1, -1], [5, 0, 9, 4], [np.nan, 0, 4, 4], [0, -4, 4, 4]]
    got = crop(
        image,
        boxes,
        8,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        dtype=dtype,
        impl=impl,
    )
    assert not got[:3].any()
    assert not got[3, :, :3].any()
    assert got[3, :, 5:].all()


def test_without_antialiasing_two_taps_are_read():
    weights = reference.weights(0.0, 64.0, 4, 64, False)
    assert ((weights > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
