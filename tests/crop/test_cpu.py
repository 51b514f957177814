"""The C++ kernel, on every instruction set this machine has, against the definition."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose import _core
from edgepose import crop as face
from edgepose.crop import crop, valid_boxes
from edgepose.errors import CropError
from tests.crop.cases import (
    HOSTILE,
    MEAN,
    SCALE,
    STD,
    STRANGE,
    batches,
    noise,
    random_boxes,
    usual_boxes,
)  # fmt: skip

IMAGENET = {"scale": SCALE, "mean": MEAN, "std": STD}
ISAS = _core.cpu_isas()


@pytest.fixture(params=range(len(ISAS)), ids=ISAS)
def isa(request, monkeypatch):
    """Makes impl="cpu" run one instruction set."""
    monkeypatch.setattr(face.cpu, "_isa", lambda: request.param)
    return ISAS[request.param]


def check(frames, boxes, size, *, dtype=np.float32, **options) -> np.ndarray:
    """Hold the kernel to the definition, to the contract's tolerance."""
    expected = crop(frames, boxes, size, impl="reference", **options)
    got = crop(frames, boxes, size, impl="cpu", dtype=dtype, **options)
    assert got.dtype == dtype
    gain = np.abs(options.get("scale", 1.0) / np.array(options.get("std", (1.0, 1.0, 1.0))))
    allowed = np.broadcast_to(0.02 * gain[None, :, None, None], expected.shape)
    if dtype == np.float16:
        allowed = allowed + 1e-3 * np.abs(expected)
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= allowed).all(), f"off by {(error / allowed).max():.3g} times the tolerance"
    return got


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_ten_thousand_boxes(isa, dtype):
    checked = 0
    for frames, boxes, index, size, options, expected in batches():
        got = crop(frames, boxes, size, frame_index=index, dtype=dtype, impl="cpu", **options)
        allowed = np.array(0.02 * SCALE / np.array(STD), np.float32)[:, None, None]
        if dtype == np.float16:
            allowed = allowed + 1e-3 * np.abs(expected)
        assert (np.abs(got - expected) <= allowed).all()
        checked += len(boxes)
    assert checked >= 10_000


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("ratio", [0.5, 1, 1.3, 1.9, 2.2, 3.5])
def test_a_large_batch_of_wide_crops(isa, ratio, antialias):
    """Wider than any register, and enough of it for the kernel to prefetch."""
    image = noise(300, 400)
    size, n = (110, 61), 9
    rng = np.random.default_rng(7)
    side = ratio * np.array(size[::-1])
    corner = rng.uniform(-30, 0.8, (n, 2)) * np.maximum([1, 1], [400, 300] - side) % 250
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    boxes = np.tile(boxes, (3, 1))
    got = check(image, boxes, size, antialias=antialias, **IMAGENET)
    assert got.nbytes > 2 << 20
    for i in range(n):
        np.testing.assert_array_equal(got[i], got[i + n])


@pytest.mark.parametrize("ratio", [0.25, 0.9, 1, 1.1, 1.9, 2, 2.9, 3.1, 4, 5.1, 6.2, 9, 15.5, 17])
def test_every_number_of_taps(isa, ratio):
    rng = np.random.default_rng(2)
    image = noise(180, 200)
    start = rng.uniform(-10, 150, (12, 2))
    boxes = np.concatenate([start, start + 9 * ratio], axis=1)
    check(image, boxes, 9)
    check(image, boxes, 9, dtype=np.float16, **IMAGENET)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_hostile_boxes_give_padding(isa, dtype, antialias):
    image = noise(17, 23)
    assert not valid_boxes(HOSTILE).any()
    options = {**IMAGENET, "border": (255, 7, 0)}
    got = check(image, HOSTILE, 5, dtype=dtype, antialias=antialias, **options)
    padding = (np.array(options["border"]) / 255 - IMAGENET["mean"]) / IMAGENET["std"]
    np.testing.assert_allclose(
        got, np.broadcast_to(padding[:, None, None], got.shape), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [1, 7, (2, 31)])
def test_strange_boxes_are_cropped(isa, size, antialias):
    assert valid_boxes(STRANGE).all()
    for image in (noise(17, 23), noise(1, 1)):
        check(image, STRANGE, size, antialias=antialias, border=(255, 7, 0))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(width=32) | st.floats(-40, 60, width=32), min_size=4, max_size=4),
        max_size=6,
    ),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.booleans(),
)
def test_any_float_is_a_box(boxes, size, shape, antialias):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    got = check(noise(*shape), array, size, antialias=antialias, **IMAGENET)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("shape", [(8192, 5), (5, 8192)])
def test_thousands_of_taps_stay_exact(isa, shape):
    for image in (np.full((*shape, 3), 255, np.uint8), noise(*shape)):
        whole = [0, 0, shape[1], shape[0]]
        check(image, [whole, [0.3, 0.3, shape[1] - 0.3, shape[0] - 0.3]], 1)
        check(image, [whole, [-1e5, -1e5, 1e5, 1e5]], 3)


LAYOUTS = {
    "row padding": lambda image: np.pad(image, ((0, 0), (0, 5), (0, 0)))[:, :-5],
    "every other row": lambda image: image.repeat(2, axis=0)[::2],
    "upside down": lambda image: np.ascontiguousarray(image[::-1])[::-1],
    "the same row": lambda image: np.broadcast_to(image[3], image.shape),
    "mirrored": lambda image: image[:, ::-1],
    "every other pixel": lambda image: image[:, ::2],
    "channels swapped": lambda image: image[:, :, ::-1],
    "planar": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
    "turned": lambda image: image.transpose(1, 0, 2),
    "one column": lambda image: image[:, 3:4],
    "one row": lambda image: image[5:6],
    "one strided column": lambda image: image[:, ::-9][:, :1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layouts(isa, layout):
    image = LAYOUTS[layout](noise(19, 27))
    boxes = random_boxes(np.random.default_rng(3), 20, 19, 27)
    got = check(image, boxes, 12)
    np.testing.assert_array_equal(got, crop(np.array(image, order="C"), boxes, 12))


@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_frames_of_different_sizes(n):
    frames = (noise(9, 13, 1), noise(1, 1, 2), noise(30, 4, 3))
    rng = np.random.default_rng(4)
    index = rng.integers(0, 3, n)
    boxes = random_boxes(rng, n, 20, 20)
    got = crop(frames, boxes, (6, 8), frame_index=index)
    assert got.shape == (n, 3, 6, 8)
    for i in range(n):
        np.testing.assert_array_equal(got[i], crop(frames[index[i]], boxes[i : i + 1], (6, 8))[0])


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 1e-7, 300.0])
@pytest.mark.parametrize("width", [1, 7, 8, 31])
def test_float16_is_one_rounding_to_nearest_even(isa, scale, width):
    image = noise(40, 40)
    boxes = random_boxes(np.random.default_rng(5), 40, 40, 40)
    options = {"scale": scale, "mean": (0.4 * scale, 0, -9 * scale), "border": (0, 10, 255)}
    single = crop(image, boxes, (5, width), **options)
    half = crop(image, boxes, (5, width), dtype=np.float16, **options)
    with np.errstate(over="ignore"):
        expected = single.astype(np.float16)
    np.testing.assert_array_equal(half.view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_out_is_written_and_returned(dtype):
    image, boxes = noise(20, 20), [[0, 0, 20, 20], [np.nan] * 4]
    out = np.full((2, 3, 4, 6), np.nan, dtype)
    assert crop(image, boxes, (4, 6), dtype=dtype, out=out) is out
    np.testing.assert_array_equal(out, crop(image, boxes, (4, 6), dtype=dtype))
    assert np.isfinite(out).all()


def test_nothing_is_written_beside_out(isa):
    image = noise(50, 50)
    boxes = random_boxes(np.random.default_rng(6), 9, 50, 50)
    for dtype in (np.float32, np.float16):
        for width in range(1, 20):
            room = np.full(11 * 3 * 5 * width, 7, dtype)
            out = room.reshape(11, 3, 5, width)[1:-1]
            crop(image, boxes, (5, width), dtype=dtype, out=out)
            room = room.reshape(11, -1)
            assert (room[0] == 7).all()
            assert (room[-1] == 7).all()


def test_callers_do_not_disturb_each_other():
    image = noise(400, 600)
    work = [random_boxes(np.random.default_rng(seed), 40, 400, 600) for seed in range(8)]
    expected = [crop(image, boxes, 32) for boxes in work]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda boxes: crop(image, boxes, 32), work))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_threads_share_the_boxes(isa, threads, n):
    image = noise(200, 300)
    boxes = random_boxes(np.random.default_rng(8), n, 200, 300)
    got = crop(image, boxes, 24, threads=threads)
    np.testing.assert_array_equal(got, crop(image, boxes, 24))


def test_a_border_that_is_no_level(isa):
    border = (-1e4, 300, 5000)
    boxes = usual_boxes(np.random.default_rng(9), 40, 60, 80, 20)
    image = noise(60, 80)
    expected = crop(image, boxes, 20, border=border, impl="reference")
    got = crop(image, boxes, 20, border=border)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=0.02)


def test_tiny_gains_keep_their_digits(isa):
    boxes = usual_boxes(np.random.default_rng(10), 20, 60, 80, 20)
    check(noise(60, 80), boxes, 20, scale=3e-37)


def test_opencv_agrees_inside_the_frame(isa):
    image = cv2.GaussianBlur(noise(300, 400), (0, 0), 2)
    for side, size in ((60, 96), (64, 64), (150, 100), (120, 60), (200, 48)):
        box = [[40, 30, 40 + side, 30 + side]]
        part = image[30 : 30 + side, 40 : 40 + side]
        mode = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        expected = cv2.resize(part, (size, size), interpolation=mode)[:, :, ::-1].transpose(2, 0, 1)
        got = crop(image, box, size)[0]
        # OpenCV repeats the part's edge where the crop reads on into the frame.
        assert np.abs(got - expected)[:, 1:-1, 1:-1].max() <= 1.0


def info_with(path: str) -> subprocess.CompletedProcess:
    code = "import edgepose.crop as c; print(c.info().path, *c.info().present)"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "EDGEPOSE_CPU": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_names_the_path():
    for name in ISAS:
        done = info_with(name)
        assert done.stdout.split() == [name, *ISAS], done.stderr
    assert info_with("").stdout.split()[0] == ISAS[0]


@pytest.mark.parametrize("path", ["sse9", *({"avx512", "avx2", "neon"} - set(ISAS))])
def test_a_path_that_there_is_not(monkeypatch, path):
    face.cpu.info.cache_clear()
    face.cpu._isa.cache_clear()
    monkeypatch.setenv("EDGEPOSE_CPU", path)
    for call in (face.info, lambda: crop(noise(4, 4), [[0, 0, 4, 4]], 4)):
        with pytest.raises(CropError, match=f"^EDGEPOSE_CPU.*{path}.*\\.$"):
            call()


def test_info_names_what_runs():
    assert face.info().present == tuple(ISAS)
    assert face.info().path in ISAS
    assert ISAS[-1] == "scalar"


def test_the_binding_guards_memory_itself():
    image = noise(4, 4)
    boxes = np.array([[0, 0, 4, 4]], np.float32)
    colour = ((1.0,) * 3, (0.0,) * 3, (0.0,) * 3)
    zero = np.zeros(1, np.int64)
    out = np.zeros((1, 3, 2, 2), np.float32)
    locked = out.copy()
    locked.flags.writeable = False
    _core.crop([image], boxes, zero, out, colour, True)
    with pytest.raises(ValueError, match="frames"):
        _core.crop([image[:, ::2]], boxes, zero, out, colour, True)
    with pytest.raises(ValueError, match="frames"):
        _core.crop([image.astype(np.int8)], boxes, zero, out, colour, True)
    for index in (zero - 1, zero + 1, np.zeros(2, np.int64)):
        with pytest.raises(ValueError, match="frame_index"):
            _core.crop([image], boxes, index, out, colour, True)
    for bad in (out[:, :, ::2], out[:, :2], out.astype(np.float64), locked, np.zeros(3)):
        with pytest.raises(ValueError, match="out"):
            _core.crop([image], boxes, zero, bad, colour, True)
    with pytest.raises(ValueError, match="boxes"):
        _core.crop([image], boxes[:, :3].copy(), zero, out, colour, True)
    with pytest.raises(TypeError):
        _core.crop([image], boxes.astype(np.float64), zero, out, colour, True)
    with pytest.raises(ValueError, match="isa"):
        _core.crop([image], boxes, zero, out, colour, True, len(ISAS))
    with pytest.raises(ValueError, match="threads"):
        _core.crop([image], boxes, zero, out, colour, True, 0, 0)
