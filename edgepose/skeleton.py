"""Named joints and what connects them: flip pairs, limbs, torso. LSP-14, COCO-17, or any from TOML.

A skeleton of one's own is a TOML file (``edgepose/skeletons/*.toml`` are examples)::

    name = "hand21"
    joints = ["wrist", "thumb_cmc", …]            # the order of the networks' outputs
    limbs = [["wrist", "thumb_cmc"], …]           # what is drawn
    torso = [["wrist", "middle_mcp"]]             # diam(y): the largest of these distances, or
                                                  # "extent": the larger side of the pose
    flip = [["left_ear", "right_ear"], …]         # default: by the names left_… and right_…
    parts = { index = ["index_mcp", "index_tip"] }  # what PCP scores; default: the limbs
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import DataError
from edgepose.foreign import TOML_BYTES, decode_toml, read_bounded

_FOLDER = Path(__file__).parent / "skeletons"


@dataclass(frozen=True)
class Skeleton:
    """The joints of one body model, by name and in order.

    ``limbs`` are pairs of joint names; ``parts`` names the limbs that PCP scores; ``torso`` holds
    the pairs whose largest distance is the torso diameter (none: the larger side of the pose's
    extent stands in). Of people these are the two shoulder - opposite hip diagonals, the one the
    paper takes (left shoulder - right hip) first. ``pairs`` are the joints that a mirror image
    exchanges; None takes them from the names, ``left_…`` and ``right_…``, the person's own.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]
    parts: tuple[tuple[str, tuple[str, str]], ...]
    torso: tuple[tuple[str, str], ...] = (
        ("left_shoulder", "right_hip"),
        ("right_shoulder", "left_hip"),
    )
    pairs: tuple[tuple[str, str], ...] | None = None

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
        pairs = self.pairs
        if pairs is None:
            lefts = (j for j in self.joints if j.startswith("left_"))
            pairs = tuple((j, j.replace("left_", "right_", 1)) for j in lefts)
        order = np.arange(len(self), dtype=np.intp)
        for a, b in pairs:
            order[[self.index(a), self.index(b)]] = self.index(b), self.index(a)
        return order

    @property
    def limb_index(self) -> NDArray[np.intp]:
        """(L, 2) joint positions of every limb."""
        return np.array([(self.index(a), self.index(b)) for a, b in self.limbs], np.intp).reshape(
            -1, 2
        )

    @property
    def torso_index(self) -> NDArray[np.intp]:
        """(t, 2) joint positions of the torso pairs; t is 0 where the extent stands in."""
        return np.array([(self.index(a), self.index(b)) for a, b in self.torso], np.intp).reshape(
            -1, 2
        )

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


class SkeletonSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A skeleton as TOML writes it; see the head of this module."""

    name: str
    joints: list[str]
    limbs: list[tuple[str, str]]
    torso: list[tuple[str, str]] | str
    flip: list[tuple[str, str]] | None = None
    parts: dict[str, tuple[str, str]] = {}

    def skeleton(self) -> Skeleton:
        """Check it; ValueError says what is wrong."""
        if not self.joints or len(set(self.joints)) < len(self.joints):
            raise ValueError("joints must be names that differ")
        if isinstance(self.torso, str) and self.torso != "extent":
            raise ValueError(f'torso must be pairs of joints or "extent", not {self.torso!r}')
        torso = () if isinstance(self.torso, str) else tuple(self.torso)
        named = tuple(self.parts.items()) or tuple((f"{a} - {b}", (a, b)) for a, b in self.limbs)
        flip = None if self.flip is None else tuple(self.flip)
        made = Skeleton(self.name, tuple(self.joints), tuple(self.limbs), named, torso, flip)
        for a, b in (*made.limbs, *torso, *(pair for _, pair in named), *(flip or ())):
            if made.index(a) == made.index(b):
                raise ValueError(f"the pair {a!r}, {b!r} names one joint twice")
        exchanged = [joint for pair in flip or () for joint in pair]
        if len(set(exchanged)) < len(exchanged):
            raise ValueError("flip names a joint twice")
        _ = made.flip  # left_… without its right_… is a mistake too
        return made


def skeleton_spec(skeleton: Skeleton) -> SkeletonSpec:
    """``skeleton`` as TOML would write it."""
    return SkeletonSpec(
        skeleton.name,
        list(skeleton.joints),
        list(skeleton.limbs),
        list(skeleton.torso) or "extent",
        None if skeleton.pairs is None else list(skeleton.pairs),
        dict(skeleton.parts),
    )


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton's TOML file; DataError says what is wrong with it."""
    try:
        return decode_toml(read_bounded(path, TOML_BYTES), SkeletonSpec).skeleton()
    except OSError as error:
        raise DataError(f"cannot read skeleton {path} ({error.strerror}); check the path") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"{path} is not a valid skeleton: {error}") from error


def load_skeleton(name: str) -> Skeleton:
    """A skeleton that ships, by name, or a TOML file, by path; DataError if it is neither."""
    if name in SKELETONS:
        return SKELETONS[name]
    if name.endswith(".toml"):
        return read_skeleton(Path(name))
    if (_FOLDER / f"{name}.toml").is_file():
        return read_skeleton(_FOLDER / f"{name}.toml")
    raise DataError(
        f"no skeleton {name!r}; known are {', '.join(shipped_skeletons())}, or give the path of a "
        ".toml file"
    )


def skeleton_of_size(joints: int) -> Skeleton | None:
    """The one skeleton that ships of that many joints; None where there is none, or more."""
    fitting = [s for s in map(load_skeleton, shipped_skeletons()) if len(s) == joints]
    return fitting[0] if len(fitting) == 1 else None


def shipped_skeletons() -> list[str]:
    """Names that :func:`load_skeleton` knows."""
    return [*SKELETONS, *sorted(path.stem for path in _FOLDER.glob("*.toml"))]
