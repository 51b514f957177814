import numpy as np
import pytest

from edgepose.nv12 import NV12
from edgepose.people.appearance import appearance, blend, unlike
from edgepose.people.options import TrackerOptions

BOX = np.array([[100, 50, 300, 450, 0.9]], np.float32)


def person(colour, trousers=(60, 40, 30)):
    """A picture with somebody in it, in BGR, on a noisy wall."""
    image = np.random.default_rng(0).integers(90, 130, (480, 400, 3), np.uint8)
    image[130:280, 140:260] = colour
    image[280:450, 150:250] = trousers
    return image


def as_nv12(image):
    import cv2

    height, width = image.shape[:2]
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    u, v = yuv[height:].reshape(2, height // 2, width // 2)
    return NV12(yuv[:height].copy(), np.stack([u, v], -1), "bt601")


def test_a_person_is_like_the_own_self_and_unlike_others():
    red, blue = person((40, 40, 200)), person((200, 60, 40))
    known = appearance(red, BOX)
    assert known.shape == (1, 432)
    np.testing.assert_allclose((known**2).sum(1), 1, rtol=1e-5)
    moved = BOX + np.array([8, -10, 12, 6, 0], np.float32)
    darker = (red * 0.9).astype(np.uint8)
    limit = TrackerOptions().unlike
    assert unlike(known[0], appearance(darker, moved))[0] < limit
    assert unlike(known[0], appearance(blue, BOX))[0] > 1.5 * limit
    assert unlike(known[0], known)[0] == pytest.approx(0, abs=1e-3)


def test_colours_are_the_same_in_nv12():
    image = person((40, 40, 200))
    # Off the grid of the chroma on purpose.
    boxes = np.array([[101, 51, 299, 449, 0.9], [100, 50, 300, 450, 0.9]], np.float32)
    pairs = zip(appearance(image, boxes), appearance(as_nv12(image), boxes), strict=True)
    assert all(unlike(a, b[None])[0] < 0.25 for a, b in pairs)


@pytest.mark.parametrize(
    "box", [(-50, -80, 10, 3), (390, 470, 900, 900), (399, 479, 400, 480), (10.2, 5, 10.4, 5.1)]
)
def test_boxes_at_the_edges_and_tiny_ones(box):
    for image in (person((1, 2, 3)), as_nv12(person((1, 2, 3)))):
        colours = appearance(image, np.array([[*box, 0.5]], np.float32))
        assert colours.shape == (1, 432)
        assert np.isfinite(colours).all()


def test_nobody():
    assert appearance(person((0, 0, 0)), np.zeros((0, 5), np.float32)).shape == (0, 432)


def test_a_picture_in_device_memory_is_not_looked_at():
    class Elsewhere:
        shape = (480, 400, 3)

    assert appearance(Elsewhere(), BOX) is None


def test_blending_keeps_a_histogram():
    a, b = appearance(person((40, 40, 200)), BOX)[0], appearance(person((200, 60, 40)), BOX)[0]
    mixed = blend(a, b, 0.3)
    assert (mixed**2).sum() == pytest.approx(1, rel=1e-5)
    assert unlike(mixed, a[None])[0] < unlike(mixed, b[None])[0]
