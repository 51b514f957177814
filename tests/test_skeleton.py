"""Skeletons are consistent in themselves and with each other."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.skeleton import COCO17, LSP14, SKELETONS

BOTH = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


def test_lsp_order_is_that_of_the_data():
    assert LSP14.joints == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist", "neck", "head_top",
    )  # fmt: skip
    assert (len(LSP14), len(COCO17)) == (14, 17)


@BOTH
def test_names_are_unique_and_all_pairs_exist(skeleton):
    assert len(set(skeleton.joints)) == len(skeleton)
    for a, b in (*skeleton.limbs, *skeleton.torso, *(ends for _, ends in skeleton.parts)):
        assert a != b
        assert {a, b} <= set(skeleton.joints)
    assert len({frozenset(limb) for limb in skeleton.limbs}) == len(skeleton.limbs)


@BOTH
def test_flip_exchanges_sides_and_undoes_itself(skeleton):
    flip = skeleton.flip
    np.testing.assert_array_equal(flip[flip], np.arange(len(skeleton)))
    for i, joint in enumerate(skeleton.joints):
        other = skeleton.joints[flip[i]]
        sided = joint.startswith(("left_", "right_"))
        assert (other != joint) == sided
        assert other.split("_", 1)[-1] == joint.split("_", 1)[-1]


@BOTH
def test_flip_maps_limbs_onto_limbs(skeleton):
    pairs = {frozenset(pair) for pair in skeleton.limb_index.tolist()}
    assert {frozenset(skeleton.flip[list(pair)].tolist()) for pair in pairs} == pairs


@BOTH
def test_indices_agree_with_names(skeleton):
    named = [tuple(skeleton.joints[i] for i in pair) for pair in skeleton.torso_index]
    assert named == [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]
    limbs = [tuple(skeleton.joints[i] for i in pair) for pair in skeleton.limb_index]
    assert limbs == list(skeleton.limbs)
    with pytest.raises(ValueError, match="tail"):
        skeleton.index("tail")


@BOTH
def test_parts_are_two_arms_and_two_legs(skeleton):
    assert {name for name, _ in skeleton.parts} == {
        f"{side}_{part}"
        for side in ("left", "right")
        for part in ("upper_arm", "lower_arm", "upper_leg", "lower_leg")
    }
    for name, ends in skeleton.parts:
        assert all(end.startswith(name.split("_")[0]) for end in ends)


def test_maps_between_skeletons_keep_names():
    there = LSP14.indices_in(COCO17)
    for joint, i in zip(LSP14.joints, there, strict=True):
        assert (COCO17.joints[i] if i >= 0 else None) == (
            joint if joint not in ("neck", "head_top") else None
        )
    np.testing.assert_array_equal(LSP14.indices_in(LSP14), np.arange(14))
    assert (COCO17.indices_in(LSP14) >= 0).sum() == 12
