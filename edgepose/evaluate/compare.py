"""Is one estimate better than another on the same persons? Paired bootstrap over pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import DataError
from edgepose.evaluate.estimates import Estimates
from edgepose.evaluate.metrics import hits, limb_joints
from edgepose.skeleton import Skeleton, skeleton_of_size
from edgepose.types import Float

_DRAWS = 2000


@dataclass(frozen=True)
class Comparison:
    """Rates of two estimates in percent, and the 95 % interval of their difference."""

    first: float
    second: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval allows to say of the second."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"


def compare(
    estimates: Estimates, first: Float, second: Float, threshold: float, seed: int = 0
) -> Comparison:
    """PCK at ``threshold`` of two estimates (n, k, 2) of the persons of ``estimates``.

    Pictures, not joints, are drawn again and again (Efron 1979): joints of one person, and persons
    of one picture, go wrong together. Both estimates see the same draws, so that what makes a
    picture hard for both does not widen the interval.
    """
    skeleton = estimates.skeleton
    columns = [skeleton.index(joint) for joint in limb_joints(skeleton)]
    group = np.unique(estimates.images, return_inverse=True)[1]
    pictures = int(group.max()) + 1
    right = np.zeros((2, pictures, len(columns)))
    counted = np.zeros((pictures, len(columns)))
    for which, joints in enumerate((first, second)):
        known, hit = hits(joints, estimates.truth, estimates.labelled, skeleton, threshold)
        np.add.at(right[which], group, (hit & known)[:, columns])
    np.add.at(counted, group, known[:, columns])
    drawn = np.random.default_rng(seed).multinomial(
        pictures, np.full(pictures, 1 / pictures), _DRAWS
    )
    a, b = (_rates(drawn @ r, drawn @ counted) for r in right)
    difference = (b - a)[np.isfinite(b - a)]
    low, high = np.quantile(difference, (0.025, 0.975)) if len(difference) else (np.nan, np.nan)
    whole = [float(_rates(r.sum(0), counted.sum(0))) for r in right]
    return Comparison(whole[0], whole[1], float(low), float(high))


def _rates(right: NDArray[np.float64], counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percent, mean over the joints that were counted; NaN where none was."""
    known = counted > 0
    each = np.where(known, right / np.maximum(counted, 1), 0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * each.sum(-1) / known.sum(-1))


class _Line(msgspec.Struct):
    image: str
    joints: list[list[float]]
    index: int | None = None
    stage: int | str = "final"
    data: str | None = None


def read_predictions(path: Path, estimates: Estimates) -> Float:
    """A peer's joints (n, k, 2) for the persons of ``estimates``, NaN where it gives none.

    Lines as ``edgepose-eval --predictions`` writes them; of several stages "final" counts. Joints
    in the bundle's order, or that of the skeleton that ships with as many. DataError names file and
    line, or that it speaks of none of the persons.
    """
    skeleton = estimates.skeleton
    place = {index: i for i, index in enumerate(estimates.index)}
    joints = np.full(estimates.truth.shape, np.nan, np.float32)
    found = 0
    for number, line in enumerate(_lines(path), 1):
        try:
            one = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path} line {number} is not a prediction: {error}") from error
        row = place.get(one.index) if one.index is not None else None
        if one.stage != "final" or row is None or estimates.images[row] != one.image:
            continue
        found += 1
        if one.joints:
            own = _skeleton(len(one.joints), skeleton, f"{path} line {number}")
            order = skeleton.indices_in(own)
            given = np.array(one.joints, np.float32)[:, :2][order]
            joints[row] = np.where((order >= 0)[:, None], given, np.nan)
    if not found:
        raise DataError(f"{path} predicts none of these persons; take predictions of the same data")
    return joints


def _lines(path: Path) -> Sequence[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot read predictions {path} ({error.strerror})") from None


def _skeleton(count: int, own: Skeleton, where: str) -> Skeleton:
    skeleton = own if len(own) == count else skeleton_of_size(count)
    if skeleton is not None:
        return skeleton
    raise DataError(f"{where} has {count} joints, expected {len(own)}, those of {own.name}")
