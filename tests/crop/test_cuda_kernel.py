"""The CUDA kernel's source, run on the host, against the definition."""

from __future__ import annotations

import subprocess
import sys

import gpu_cases
import numpy as np
import pytest

from edgepose import _host
from edgepose.crop import cuda, native, reference_nv12, surfaces
from tests import sanitized
from tests.crop import cuda_host
from tests.crop.cuda_host import HostCuda, download, upload


@pytest.fixture
def host(monkeypatch) -> HostCuda:
    """The kernels on the host in the place of the GPU's."""
    fake = HostCuda(_host)
    monkeypatch.setattr(native, "_cuda", fake)
    return fake


def check(case: gpu_cases.Case) -> np.ndarray:
    got = download(gpu_cases.run(case, upload))
    assert gpu_cases.error(case, got, gpu_cases.expected(case)) <= 1
    return got


def bgr(image, boxes, size, *, dtype=np.float32, antialias=True, **colour) -> gpu_cases.Case:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    size = (size, size) if isinstance(size, int) else size
    index = np.zeros(len(array), np.int64)
    return gpu_cases.Case([image], None, array, index, size, dtype, antialias, colour)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def test_ten_thousand_random_and_hostile_boxes(host):
    assert max(cuda_host.parity(10_000)) <= 1
    assert host.launches == 10_000 / gpu_cases.BOXES_PER_CASE


def test_under_sanitizers():
    """Some of these, and the arithmetic between networks; ``make sanitize`` runs more."""
    files = [f"tests/crop/{name}.py" for name in ("test_boxes", "test_cuda_kernel")]
    some = "stages or square or spare or ratio or beside or surface or table"
    command = [sys.executable, "-m", "tests.sanitized", "-q", *files, "-k", some]
    done = subprocess.run(command, cwd=sanitized.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1, 1.1, 1.9, 2, 2.1, 3, 4, 5.1, 9, 15.5, 60, 100])
def test_every_ratio(host, ratio):
    boxes = [[x, x - 5, x + 40 * ratio, x - 5 + 40 * ratio] for x in (-20, 0, 3.7, 150)]
    image = noise(300, 400, 3)
    for antialias in (True, False):
        check(bgr(image, boxes, 40, antialias=antialias, border=(9, 99, 199)))
    tall = [[3, 3, 3 + 20 * ratio, 250], [3, 3, 250, 3 + 20 * ratio]]
    check(bgr(image, tall, (20, 33)))


@pytest.mark.parametrize(("n", "size"), [(200, 40), (500, 50), (600, (150, 70))])
def test_long_strips(host, n, size):
    """Many outputs: strips of 4, 8 and 16 rows in place of 2."""
    rng = np.random.default_rng(3)
    image = noise(90, 120, 3)
    low = rng.uniform(-20, 100, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 90, (n, 2))], axis=1)
    case = bgr(image, boxes, size, border=(9, 99, 199))
    got = download(gpu_cases.run(case, upload))
    some = slice(0, None, 25)
    part = bgr(image, boxes[some], size, border=(9, 99, 199))
    assert gpu_cases.error(part, got[some], gpu_cases.expected(part)) <= 1
    rest = [download(gpu_cases.run(bgr(image, box, size, border=(9, 99, 199)), upload))
            for box in boxes[:50]]  # fmt: skip
    np.testing.assert_array_equal(got[:50], np.concatenate(rest))


def test_more_boxes_than_one_launch_can_have(host):
    image = noise(5, 5, 3)
    boxes = np.random.default_rng(4).uniform(-2, 7, (65_600, 4))
    boxes[:, 2:] += boxes[:, :2].clip(0)
    index = np.zeros(len(boxes), np.int64)
    index[65_560] = 1
    case = bgr(image, boxes, 1)
    case.frames, case.index = [image, image[::-1]], index
    got = download(gpu_cases.run(case, upload))
    some = np.r_[:5, 65_530:65_600]
    case.boxes, case.index = boxes[some], index[some]
    assert gpu_cases.error(case, got[some], gpu_cases.expected(case)) <= 1


@pytest.mark.parametrize("shape", [(8192, 5, 3), (5, 8192, 3)])
def test_thousands_of_pixels_in_a_window_stay_exact(host, shape):
    for image in (np.full(shape, 255, np.uint8), noise(*shape)):
        check(bgr(image, [[0, 0, shape[1], shape[0]], [0.3, 0.3, shape[1] - 0.3, 4.7]], 1))
        check(bgr(image, [[-1e5, -1e5, 1e5, 1e5]], 3))


@pytest.mark.parametrize("width", [1, 2, 31, 32, 64, 65])
def test_float16_is_one_rounding_to_nearest_even(host, width):
    image = noise(60, 60, 3)
    boxes = [[1.3, 2.7, 50, 50], [0, 0, 60, 60], [-9, -9, 200, 200]]
    for scale in (1 / 255, 1e-7, 300.0):
        options = {"scale": scale, "mean": (0.4 * scale, 0, -9 * scale), "border": (0, 10, 255)}
        single = download(gpu_cases.run(bgr(image, boxes, (40, width), **options), upload))
        half = download(
            gpu_cases.run(bgr(image, boxes, (40, width), dtype=np.float16, **options), upload)
        )
        with np.errstate(over="ignore"):
            rounded = single.astype(np.float16)
        np.testing.assert_array_equal(half.view(np.uint16), rounded.view(np.uint16))


def test_a_table_in_memory_is_read_when_the_launch_runs(host):
    """Any number of frames, and what the table says by then; rows without pixels give padding."""
    images = [noise(20 + i, 30, 3) for i in range(70)]
    table, standard = surfaces.rows([upload(image) for image in images])
    table = np.concatenate([table, np.zeros(1, surfaces.ROW)])
    lying = upload(table.view(np.uint8).reshape(len(table), -1))
    boxes = np.tile(np.array([[2, 3, 18, 19]], np.float32), (4, 1))
    index = np.array([0, 69, 70, 71])
    case = gpu_cases.Case([*images, images[0][:0]], None, boxes, index, (9, 9), np.float32, True)

    def crops() -> np.ndarray:
        frames = cuda.FrameTable(lying, standard)
        return download(cuda.crop(frames, upload(boxes), 9, frame_index=upload(index)))

    wanted = gpu_cases.expected(bgr(images[0], boxes[:1], 9))
    got = crops()
    assert gpu_cases.error(case, got[:1], wanted) <= 1
    assert (got[2:] == 0).all()
    moved = images[0][::-1].copy()
    table["data"][0] = moved.ctypes.data
    assert gpu_cases.error(case, crops()[:1], gpu_cases.expected(bgr(moved, boxes[:1], 9))) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("width", [1, 2, 33, 64])
def test_nothing_is_written_beside_out(host, dtype, width):
    boxes = [[0, 0, 30, 30], [0, 0, 300, 300], [np.nan] * 4]  # narrow, wide, padding
    case = bgr(noise(40, 40, 3), boxes, (35, width), dtype=dtype)
    for offset in (0, 1):  # an odd one is aligned to one element only
        room = np.full(5 * 3 * 35 * width + 1, 7, dtype)
        out = room[offset : -1 + offset or None].reshape(5, 3, 35, width)[1:-1]
        target = upload(out)
        assert gpu_cases.run(case, upload, out=target) is target
        np.testing.assert_array_equal(out, download(gpu_cases.run(case, upload)))
        written = np.zeros(room.shape, bool)
        written[offset : -1 + offset or None].reshape(5, 3, 35, width)[1:-1] = True
        assert (room[~written] == 7).all()


def to_nv12(rgb: np.ndarray, standard: str) -> tuple[np.ndarray, np.ndarray]:
    """Encode (H, W, 3) RGB, constant over 2 x 2 pixels, as planes of floats."""
    yuv = rgb @ np.linalg.inv(reference_nv12.matrix(standard)).T + [16, 128, 128]
    return yuv[..., 0], yuv[::2, ::2, 1:]


@pytest.mark.parametrize("standard", ["bt601", "bt709"])
def test_nv12_holds_the_colour_bars(host, standard):
    """Against values that the standards themselves give, for 100 % bars in limited range."""
    bars = {
        "bt601": {(255, 255, 255): (235, 128, 128), (255, 0, 0): (81, 90, 240),
                  (0, 255, 0): (145, 54, 34), (0, 0, 255): (41, 240, 110)},
        "bt709": {(255, 255, 255): (235, 128, 128), (255, 0, 0): (63, 102, 240),
                  (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118)},
    }  # fmt: skip
    for rgb, (y, u, v) in bars[standard].items():
        luma, chroma = np.full((8, 8), y, np.uint8), np.full((4, 4, 2), (u, v), np.uint8)
        box = np.array([[1, 1, 7, 7]], np.float32)
        case = gpu_cases.Case(
            [(luma, chroma)], standard, box, np.zeros(1, np.int64), (4, 4), np.float32, True
        )
        got = check(case)
        np.testing.assert_allclose(got[0].mean(axis=(1, 2)), rgb, atol=1.6)  # 8-bit YUV


def test_nv12_chroma_lies_in_the_middle_of_its_pixels(host):
    """A ramp stays a ramp: a shift by half a pixel would show as 2 levels."""
    x = np.arange(32) + 0.5
    rgb = np.broadcast_to((40 + 4 * x)[None, :, None] * [1, 0.5, 0.25], (32, 32, 3))
    y, _ = to_nv12(rgb, "bt709")
    _, uv = to_nv12(
        rgb.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)).repeat(2, 0).repeat(2, 1), "bt709"
    )
    frame = (np.round(y).astype(np.uint8), np.round(uv).astype(np.uint8))
    box = np.array([[8, 8, 24, 24]], np.float32)
    case = gpu_cases.Case([frame], "bt709", box, np.zeros(1, np.int64), (16, 16), np.float32, True)
    got = check(case)[0]
    np.testing.assert_allclose(got, rgb[8:24, 8:24].transpose(2, 0, 1), atol=1.6)


def test_nv12_surface_in_one_piece(host):
    """A decoder's memory: pitched, the plane UV below the plane Y."""
    surface = noise(48 * 3 // 2, 80)
    y, uv = surface[:48, :64], surface[48:, :64].reshape(24, 32, 2)
    boxes = upload(np.array([[3, 4, 50, 40]], np.float32))
    planes = cuda.NV12(upload(y), upload(uv))
    pitched = cuda.surface(surface.ctypes.data, 48, 64, 80, owner=surface)
    flat = cuda.NV12(upload(y), upload(surface[48:, :64]))
    expected = download(cuda.crop(planes, boxes, 20))
    for same in (pitched, flat):
        np.testing.assert_array_equal(download(cuda.crop(same, boxes, 20)), expected)
