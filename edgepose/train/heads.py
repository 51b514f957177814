"""What a stage's network puts out, how it is trained, and how it becomes positions.

A **map** gives each joint a grid of logits; its position is the map's soft-argmax. A **regression**
gives coordinates, as the paper does. Positions are in [-0.5, 0.5] of the crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from edgepose.train.recipe import Kind

_CELL_SIGMA = 0.7  # spread of the Gaussian that a joint's map is trained towards, in cells
_MAP_WEIGHT = 0.3
_COORDINATE_WEIGHT = 10.0
_BETA = 0.01  # where smooth L1 turns from square to linear, in units of the crop

Mean = Callable[[Tensor], Tensor]
Batch = dict[str, Tensor]


def l2(points: Tensor, target: Tensor) -> Tensor:
    """``‖y_i - ψ_i(x)‖²`` of (…, 2), equations (4) and (8)."""
    return (points - target).square().sum(-1)


def smooth_l1(points: Tensor, target: Tensor) -> Tensor:
    """The same made robust: linear from a hundredth of the crop on."""
    return F.smooth_l1_loss(points, target, beta=_BETA, reduction="none").sum(-1)


LOSSES = {"l2": l2, "smooth-l1": smooth_l1}


class Head(Protocol):
    """How the output of a stage's network is read."""

    def terms(
        self, output: Tensor, batch: Batch, distance: Callable[..., Tensor], mean: Mean
    ) -> dict[str, Tensor]:
        """Terms of the loss, ``"loss"`` their sum; ``mean`` averages over the run's processes."""
        ...

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Points (…, 2) and, per point, a number in (0, 1) that says how sure the network is."""
        ...


class Regression:
    """Coordinates (…, 2), as they are. Each labelled joint counts alike, inside its crop or not."""

    def terms(
        self, output: Tensor, batch: Batch, distance: Callable[..., Tensor], mean: Mean
    ) -> dict[str, Tensor]:
        """Equation (4), or (8): the sum over a person's joints, the mean over the batch."""
        each = distance(output, batch["target"]) * batch["labelled"]
        total = each.sum() / len(each)
        return {"loss": total, "coordinates": total}

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The paper's network does not say how sure it is: the second output is the same for all.

        Calibration turns it into each joint's rate of hits.
        """
        return output, torch.full_like(output[..., 0], 0.5)


class PersonMaps:
    """Maps (N, k, h, w) of a whole person."""

    def terms(
        self, output: Tensor, batch: Batch, distance: Callable[..., Tensor], mean: Mean
    ) -> dict[str, Tensor]:
        """Joints inside the crop, each person by how far its labels are trusted."""
        weight = batch["inside"] * batch["weight"][:, None]
        goal = map_target(batch["target"], output.shape[2], output.shape[3])
        far = distance(soft_argmax(output), batch["target"])
        return _map_terms(far, weight, output.flatten(2), goal, weight, mean)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Around the peak only."""
        return local_soft_argmax(output)


class FinePersonMaps(PersonMaps):
    """The same at stride 4: finer cells want a wider window, and a peak of several cells."""

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Around the cells that together hold the most."""
        return local_soft_argmax(output, window=3, pool=3)


class JointMap:
    """The map of one joint's crop, flat, and the logit of "not here": (N, h·h + 1)."""

    def terms(
        self, output: Tensor, batch: Batch, distance: Callable[..., Tensor], mean: Mean
    ) -> dict[str, Tensor]:
        """As :class:`PersonMaps`; a joint outside its crop trains the last logit."""
        target, inside, weight = batch["target"], batch["inside"], batch["weight"]
        side = math.isqrt(output.shape[1] - 1)
        goal = map_target(target[:, None], side, side)[:, 0] * inside[:, None]
        goal = torch.cat((goal, 1 - inside[:, None]), -1)
        return _map_terms(
            distance(self.position(output), target), inside * weight, output, goal, weight, mean
        )

    def position(self, output: Tensor) -> Tensor:
        """Where the joint is expected (N, 2), if it is inside: what the coordinates learn by."""
        side = math.isqrt(output.shape[1] - 1)
        return soft_argmax(output[:, :-1].reshape(-1, 1, side, side))[:, 0]

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`displacement`."""
        return displacement(output)


class ExpectedJointMap(JointMap):
    """The same, read by the expected displacement: a joint moves as far as the network is sure."""

    def position(self, output: Tensor) -> Tensor:
        """That of :meth:`decode`."""
        return expected_displacement(output)[0]

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`expected_displacement`."""
        return expected_displacement(output)


HEADS: dict[tuple[Kind, str], Head] = {
    ("holistic", "map"): PersonMaps(),
    ("holistic", "fine-map"): FinePersonMaps(),
    ("refine", "map"): JointMap(),
    ("refine", "expected"): ExpectedJointMap(),
    ("holistic", "regression"): Regression(),
    ("refine", "regression"): Regression(),
}


def _map_terms(
    far: Tensor, seen: Tensor, logits: Tensor, goal: Tensor, counted: Tensor, mean: Mean
) -> dict[str, Tensor]:
    """Distances weighted by ``seen``, cross-entropy of maps (…, cells) by ``counted``; their sum.

    The weights' sums are those of all processes, or a shard of few labels would count too much.
    """
    coordinates = (far * seen).sum() / mean(seen.sum()).clamp(min=1e-3)
    entropy = -(goal * logits.log_softmax(-1)).sum(-1)
    maps = (entropy * counted).sum() / mean(counted.sum()).clamp(min=1e-3)
    total = _COORDINATE_WEIGHT * coordinates + _MAP_WEIGHT * maps
    return {"loss": total, "coordinates": coordinates, "maps": maps}


def map_target(target: Tensor, height: int, width: int) -> Tensor:
    """Gaussian (N, k, h·w) about normalised positions (N, k, 2), summing to 1."""
    row = torch.arange(height, device=target.device)
    column = torch.arange(width, device=target.device)
    x = (target[..., 0, None] + 0.5) * width - 0.5 - column
    y = (target[..., 1, None] + 0.5) * height - 0.5 - row
    logits = -(y[..., :, None] ** 2 + x[..., None, :] ** 2) / (2 * _CELL_SIGMA**2)
    return logits.flatten(-2).softmax(-1)


def local_soft_argmax(logits: Tensor, window: int = 2, pool: int = 1) -> tuple[Tensor, Tensor]:
    """Peak position by soft-argmax in the (2·window+1)² cells around the peak.

    ``logits`` (N, k, H, W). Gives positions (N, k, 2) in [-0.5, 0.5] of the map (x, y) and the
    share (N, k) of the whole map's probability inside the window. The peak is the cell about which
    ``pool`` x ``pool`` cells hold the most; of a single cell a spike would do. The global
    soft-argmax, which training uses, is pulled to the map's middle by every far-off cell.
    """
    n, k, h, w = logits.shape
    probability = logits.reshape(n, k, h * w).softmax(-1)
    heaped = probability
    if pool > 1:
        heaped = F.avg_pool2d(probability.reshape(n, k, h, w), pool, 1, pool // 2)
    peak = heaped.reshape(n, k, h * w).argmax(-1)
    column, row = _cells(h, w, logits)
    near_x = (column - (peak % w).unsqueeze(-1).to(logits.dtype)).abs() <= window
    near_y = (row - (peak // w).unsqueeze(-1).to(logits.dtype)).abs() <= window
    probability = probability * (near_x & near_y).to(logits.dtype)
    mass = probability.sum(-1)
    x = (probability * (column + 0.5)).sum(-1) / mass / w - 0.5
    y = (probability * (row + 0.5)).sum(-1) / mass / h - 0.5
    return torch.stack((x, y), -1), mass


def displacement(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, h·h + 1) of a joint's map to its displacement (N, 2) and mass (N,).

    The displacement is in sides of the crop, 0 where "outside" is likelier than the peak: the
    joint then stays where the stage before put it.
    """
    side = math.isqrt(logits.shape[1] - 1)
    points, share = local_soft_argmax(logits[:, :-1].reshape(-1, 1, side, side))
    outside = logits.softmax(-1)[:, -1]
    mass = share[:, 0] * (1 - outside)
    stays = (outside > mass).to(logits.dtype)
    return points[:, 0] * (1 - stays)[:, None], mass


def soft_argmax(logits: Tensor) -> Tensor:
    """Expected position (N, k, 2) in [-0.5, 0.5] under the softmax of ``logits`` (N, k, H, W)."""
    n, k, h, w = logits.shape
    probability = logits.reshape(n, k, h * w).softmax(-1)
    column, row = _cells(h, w, logits)
    x = (probability * (column + 0.5)).sum(-1) / w - 0.5
    y = (probability * (row + 0.5)).sum(-1) / h - 0.5
    return torch.stack((x, y), -1)


def _cells(h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row (h·w,) of every cell of a flattened map."""
    index = torch.arange(h * w, device=like.device)
    return (index % w).to(like.dtype), (index // w).to(like.dtype)


def expected_displacement(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, h·h + 1) to displacement (N, 2) and mass (N,).

    The displacement, in sides of the crop, is the expected one, none being expected for what
    is "outside": a joint moves as far as the network is sure. The mass is the share of the
    probability in the 5x5 cells about the estimate.
    """
    side = math.isqrt(logits.shape[1] - 1)
    probability = logits.softmax(-1)[:, :-1]
    cell = torch.arange(side * side, device=logits.device)
    column, row = (cell % side).to(logits.dtype), (cell // side).to(logits.dtype)
    centre = side / 2 - 0.5
    x = (probability * (column - centre)).sum(-1)
    y = (probability * (row - centre)).sum(-1)
    near_x = ((column - centre)[None] - x[:, None]).abs() <= 2.5
    near_y = ((row - centre)[None] - y[:, None]).abs() <= 2.5
    mass = (probability * (near_x & near_y).to(logits.dtype)).sum(-1)
    return torch.stack((x, y), -1) / side, mass
