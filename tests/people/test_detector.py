import numpy as np
import pytest

from edgepose.people.detector import Detector, letterbox, non_maximum_suppression, to_frame


@pytest.mark.parametrize(("height", "width"), [(1920, 1080), (480, 640), (192, 192), (7, 1000)])
@pytest.mark.parametrize("size", [(192, 192), (320, 192)])
def test_letterbox_shows_the_whole_frame_undistorted(height, width, size):
    shown = letterbox(height, width, size)
    x0, y0, x1, y1 = shown
    assert x0 <= 1e-3
    assert y0 <= 1e-3
    assert x1 >= width - 1e-3
    assert y1 >= height - 1e-3
    assert (x1 - x0) / size[1] == pytest.approx((y1 - y0) / size[0], rel=1e-4)
    assert min(abs(x1 - width), abs(y1 - height)) < 1e-2  # no larger than it must be


def test_boxes_go_to_the_input_and_back():
    rng = np.random.default_rng(0)
    size, shown = (192, 320), letterbox(1080, 1920, (192, 320))
    boxes = rng.uniform(0, 1000, (20, 4)).astype(np.float32)
    factor = np.array([320, 192, 320, 192]) / np.tile(shown[2:] - shown[:2], 2)
    inputs = (boxes - np.tile(shown[:2], 2)) * factor
    np.testing.assert_allclose(to_frame(inputs, size, shown), boxes, atol=1e-2)


def test_suppression_keeps_the_best_of_each_cluster():
    boxes = np.array(
        [[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [2, 0, 12, 10], [50, 51, 60, 61]],
        np.float32,
    )
    scores = np.array([0.5, 0.9, 0.3, 0.8, 0.7], np.float32)
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 4]
    assert non_maximum_suppression(boxes, scores, 1.0).tolist() == [1, 3, 4, 0, 2]


def test_a_suppressed_box_suppresses_nothing():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    kept = non_maximum_suppression(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.3)
    assert kept.tolist() == [0, 2]


def _network(boxes, scores):
    def run(inputs):
        assert inputs.shape == (1, 3, 64, 64)
        return np.array([boxes], np.float32), np.array([scores], np.float32)

    return run


def test_boxes_come_in_frame_pixels_best_first_and_cut_to_the_frame():
    network = _network([[16, 0, 32, 64], [30, 10, 70, 60], [0, 0, 5, 5]], [0.6, 0.9, 0.1])
    out = Detector(network, 64, threshold=0.3)(np.zeros((128, 64, 3), np.uint8))
    assert out.dtype == np.float32
    # 128 x 64 in 64 x 64: factor 2, and 32 columns of padding on either side.
    np.testing.assert_allclose(out, [[28, 20, 64, 120, 0.9], [0, 0, 32, 128, 0.6]], atol=1e-4)


def test_input_is_the_normalised_frame_in_rgb():
    seen = []

    def network(inputs):
        seen.append(inputs.copy())
        return np.zeros((1, 1, 4), np.float32), np.zeros((1, 1), np.float32)

    frame = np.zeros((64, 32, 3), np.uint8)
    frame[..., 2] = 255
    assert Detector(network, 64)(frame).shape == (0, 5)
    image = seen[0][0]
    assert (image[:, :, :16] == 0).all()
    assert np.allclose(image[:, 32, 32], [1.0, -127 / 128, -127 / 128])


def test_at_most_max_persons():
    boxes = [[i * 10, 0, i * 10 + 8, 30] for i in range(6)]
    detector = Detector(_network(boxes, [0.5] * 6), 64, max_persons=4)
    assert detector(np.zeros((64, 64, 3), np.uint8)).shape == (4, 5)


def test_wrong_arguments_are_named():
    network = _network([], [])
    with pytest.raises(ValueError, match="threshold"):
        Detector(network, 64, threshold=1.5)
    with pytest.raises(ValueError, match="max_persons"):
        Detector(network, 64, max_persons=0)
    with pytest.raises(ValueError, match="frame"):
        Detector(network, 64)(np.zeros((4, 4), np.uint8))


def test_a_frame_higher_than_wide_takes_the_portrait_network():
    seen = []

    def network(inputs):
        seen.append(inputs.shape)
        return np.array([[[8, 16, 24, 56]]], np.float32), np.array([[0.9]], np.float32)

    detector = Detector(network, (32, 64), portrait=network)
    for size, box in (((64, 128), [16, 32, 48, 64]), ((128, 64), [16, 32, 48, 112])):
        found = detector(np.zeros((*size, 3), np.uint8))
        np.testing.assert_allclose(found[0, :4], box, atol=1e-4)  # cut to the frame
    assert seen == [(1, 3, 32, 64), (1, 3, 64, 32)]
    Detector(network, (32, 64))(np.zeros((128, 64, 3), np.uint8))
    assert seen[-1] == (1, 3, 32, 64)
