"""Named joints and what connects them: flip pairs, limbs, torso; LSP-14, COCO-17 and their map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Skeleton:
    """The joints of one body model, by name and in order.

    ``limbs`` are pairs of joint names; ``parts`` names the limbs that PCP scores; ``torso`` holds
    the two shoulder - opposite hip diagonals, the one the paper takes (left shoulder - right hip)
    first. Left and right are the person's own.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    parts: tuple[tuple[str, tuple[str, str]], ...]
    torso: tuple[tuple[str, str], tuple[str, str]] = (
        ("left_shoulder", "right_hip"),
        ("right_shoulder", "left_hip"),
    )

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of ``joint`` in the pose array; ValueError if the skeleton has no such joint."""
        if joint not in self.joints:
            raise ValueError(f"skeleton {self.name} has no joint {joint!r}")
        return self.joints.index(joint)

    @property
    def flip(self) -> NDArray[np.intp]:
        """(k,) index that exchanges left and right: ``flipped = joints[:, skeleton.flip]``."""
        swapped = (
            j.replace("left_", "right_") if j.startswith("left_") else j.replace("right_", "left_")
            for j in self.joints
        )
        return np.array([self.index(j) for j in swapped], np.intp)

    @property
    def limb_index(self) -> NDArray[np.intp]:
        """(L, 2) joint positions of every limb."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.limbs], np.intp)

    @property
    def torso_index(self) -> NDArray[np.intp]:
        """(2, 2) joint positions of the two torso diagonals."""
        return np.array([[self.index(a), self.index(b)] for a, b in self.torso], np.intp)

    def indices_in(self, other: Skeleton) -> NDArray[np.intp]:
        """(k,) position in ``other`` of each joint of this skeleton, -1 where it has none."""
        return np.array(
            [other.joints.index(j) if j in other.joints else -1 for j in self.joints], np.intp
        )


_ARMS_LEGS = tuple(
    (f"{side}_{part}", (f"{side}_{a}", f"{side}_{b}"))
    for part, a, b in (
        ("upper_arm", "shoulder", "elbow"),
        ("lower_arm", "elbow", "wrist"),
        ("upper_leg", "hip", "knee"),
        ("lower_leg", "knee", "ankle"),
    )
    for side in ("right", "left")
)
_TRUNK = (
    ("right_shoulder", "left_shoulder"),
    ("right_hip", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "left_hip"),
)
_LIMBS = tuple(limb for _, limb in _ARMS_LEGS) + _TRUNK

LSP14 = Skeleton(
    name="lsp14",
    joints=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
    limbs=(*_LIMBS, ("neck", "head_top")),
    parts=_ARMS_LEGS,
)

COCO17 = Skeleton(
    name="coco17",
    joints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=(
        *_LIMBS,
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
    ),
    parts=_ARMS_LEGS,
)

SKELETONS = {s.name: s for s in (LSP14, COCO17)}
