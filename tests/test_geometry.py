"""The cascade's coordinates: each function against its equation, for all boxes and poses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgepose import geometry as g
from edgepose.skeleton import COCO17, LSP14, SKELETONS

PROPERTY = settings(deadline=None, max_examples=60)
EPS = 2.0**-22  # two units in the last place of float32, relative
coordinates = st.floats(-1e4, 1e4, width=32)
sides = st.floats(1, 5e3, width=32)
points = arrays(np.float32, (6, 2), elements=coordinates)
poses = arrays(np.float32, (3, 14, 2), elements=coordinates)


@st.composite
def boxes(draw, count=3):
    rows = []
    for _ in range(count):
        x, y, w, h = draw(coordinates), draw(coordinates), draw(sides), draw(sides)
        rows.append((x, y, x + w, y + h))
    return np.array(rows, np.float32)


def reach(*values) -> float:
    """The size that rounding errors go by."""
    return max(float(np.abs(v).max()) for v in values)


def test_normalise_by_hand():
    box = [10, 20, 30, 60]
    got = g.normalise([[20, 40], [10, 20], [30, 60], [40, 40]], box)
    np.testing.assert_array_equal(got, [[0, 0], [-0.5, -0.5], [0.5, 0.5], [1, 0]])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(g.denormalise(got, box), [[20, 40], [10, 20], [30, 60], [40, 40]])


@PROPERTY
@given(points, boxes())
def test_normalise_and_denormalise_undo_each_other(y, b):
    tolerance = 4 * EPS * reach(y, b)
    many = np.broadcast_to(y, (len(b), *y.shape))
    np.testing.assert_allclose(g.denormalise(g.normalise(many, b), b), many, atol=tolerance)
    unit = y / np.float32(1e4)
    back = g.normalise(g.denormalise(np.broadcast_to(unit, many.shape), b), b)
    size = g.centre_and_size(b)[1].min()
    np.testing.assert_allclose(back, np.broadcast_to(unit, many.shape), atol=tolerance / size)


@PROPERTY
@given(boxes())
def test_centre_and_size_and_boxes_around_undo_each_other(b):
    centre, size = g.centre_and_size(b)
    np.testing.assert_allclose(g.boxes_around(centre, size), b, atol=EPS * reach(b) * 2)
    squares = g.boxes_around(centre, size[:, :1])
    width, height = np.moveaxis(squares[:, 2:] - squares[:, :2], -1, 0)
    np.testing.assert_allclose(width, height, atol=EPS * reach(b) * 4)


@PROPERTY
@given(boxes(), st.floats(1, 3))
def test_square_boxes_cover_the_person(b, margin):
    got = g.square_boxes(b, margin)
    slack = EPS * reach(got, b) * 4
    centre, size = g.centre_and_size(got)
    np.testing.assert_allclose(centre, g.centre_and_size(b)[0], atol=slack)
    longer = (b[:, 2:] - b[:, :2]).max(-1) * margin
    np.testing.assert_allclose(size, np.stack([longer, longer], -1), atol=slack)
    assert (got[:, :2] <= b[:, :2] + slack).all()
    assert (got[:, 2:] >= b[:, 2:] - slack).all()


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_torso_diameter_is_the_larger_diagonal(skeleton):
    y = np.zeros((len(skeleton), 2), np.float32)
    y[skeleton.index("left_shoulder")], y[skeleton.index("right_hip")] = (3, 0), (0, 4)
    assert g.torso_diameter(y, skeleton) == 5
    y[skeleton.index("right_shoulder")] = (-6, 8)
    assert g.torso_diameter(y, skeleton) == 10


def test_torso_diameter_falls_back_on_the_extent_and_then_on_a_pixel():
    y = np.zeros((14, 2), np.float32)
    assert g.torso_diameter(y, LSP14) == 1
    y[LSP14.index("head_top")] = (0, -50)
    assert g.torso_diameter(y, LSP14) == 10
    assert g.torso_diameter(y, LSP14, floor=0.5) == 25


@PROPERTY
@given(poses, st.booleans())
def test_torso_diameter_never_degenerates(y, collapsed):
    if collapsed:
        y = np.repeat(y[:, :1], y.shape[1], axis=1)
    size = g.torso_diameter(y, LSP14)
    assert size.shape == (3,)
    assert np.isfinite(size).all()
    assert (size >= 1).all()


@PROPERTY
@given(poses, st.floats(0.25, 4))
def test_joint_boxes_are_squares_around_the_joints(y, sigma):
    b = g.joint_boxes(y, LSP14, sigma)
    assert b.shape == (3, 14, 4)
    centre, size = g.centre_and_size(b)
    slack = 4 * EPS * reach(y, b)
    side = np.minimum(sigma * g.torso_diameter(y, LSP14).astype(np.float64), g.MAX_SIDE)
    side = side[:, None, None]
    np.testing.assert_allclose(centre, y, atol=slack)
    np.testing.assert_allclose(size, np.broadcast_to(side, size.shape), atol=slack)


@PROPERTY
@given(poses, arrays(np.float32, (3, 14, 2), elements=st.floats(-0.5, 0.5, width=32)))
def test_refine_is_equation_6(y, moved):
    """y_i + N⁻¹(ψ_i; b_i), the displacement scaled back by the side of b_i, in float64."""
    b = g.joint_boxes(y, LSP14, 1.5)
    wide = b.astype(np.float64)
    expected = y + moved.astype(np.float64) * (wide[..., 2:] - wide[..., :2])
    np.testing.assert_allclose(g.refine(y, moved, b), expected, atol=4 * EPS * reach(y, b))


@PROPERTY
@given(poses, arrays(np.float32, (3, 14, 2), elements=st.floats(-0.5, 0.5, width=32)))
def test_refine_agrees_with_denormalising_in_the_joint_s_box(y, moved):
    b = g.joint_boxes(y, LSP14, 1.0)
    through_box = g.denormalise(moved[..., None, :], b)[..., 0, :]
    np.testing.assert_allclose(g.refine(y, moved, b), through_box, atol=8 * EPS * reach(y, b))


@PROPERTY
@given(poses)
def test_person_boxes_contain_the_joints_and_are_never_thin(y):
    b = g.person_boxes(y)
    slack = 4 * EPS * reach(y, b)
    assert (y >= b[:, None, :2] - slack).all()
    assert (y <= b[:, None, 2:] + slack).all()
    size = b[:, 2:] - b[:, :2]
    assert (size > 0.5).all()
    assert (size.min(-1) >= 0.3 * size.max(-1) - slack).all()


def test_person_boxes_by_hand():
    y = [[0, 0], [100, 40]]
    np.testing.assert_allclose(g.person_boxes(y), [-12.5, -5, 112.5, 45])
    np.testing.assert_allclose(g.person_boxes([[0, 0], [0, 100]], grow=1), [-15, 0, 15, 100])


def test_box_iou_by_hand():
    a = [[0, 0, 10, 10], [0, 0, 0, 10]]
    b = [[0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 20, 20], [2, 2, 4, 4], [3, 3, 3, 3]]
    np.testing.assert_allclose(g.box_iou(a, b), [[1, 1 / 3, 0, 0.04, 0], [0, 0, 0, 0, 0]])
    assert g.box_iou(np.zeros((0, 4)), b).shape == (0, 5)
    # A fifth column, the detector's score, is not looked at.
    np.testing.assert_allclose(g.box_iou([[0, 0, 10, 10, 0.9]], [[0, 0, 10, 10, 0.1]]), [[1]])


@PROPERTY
@given(boxes(), boxes())
def test_box_iou_properties(a, b):
    iou = g.box_iou(a, b)
    assert ((iou >= 0) & (iou <= 1 + 1e-6)).all()
    np.testing.assert_allclose(iou, g.box_iou(b, a).T, rtol=1e-5)
    np.testing.assert_allclose(np.diag(g.box_iou(a, a)), 1, rtol=1e-5)
    apart = (a[:, None, 2:] <= b[None, :, :2]) | (b[None, :, 2:] <= a[:, None, :2])
    assert not iou[apart.any(-1)].any()


def test_functions_take_any_leading_axes():
    rng = np.random.default_rng(0)
    y = rng.normal(100, 30, (2, 5, 17, 2)).astype(np.float32)
    b = g.joint_boxes(y, COCO17, 1.0)
    for i in range(2):
        for j in range(5):
            np.testing.assert_array_equal(b[i, j], g.joint_boxes(y[i, j], COCO17, 1.0))
            np.testing.assert_array_equal(g.person_boxes(y)[i, j], g.person_boxes(y[i, j]))
