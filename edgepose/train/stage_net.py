"""What all stage networks share, and the reading of a map that later stages have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from edgepose.errors import DataError

Crops = Callable[[], Tensor]
Own = Callable[[Tensor], Tensor]


class StageNet(nn.Module):
    """A stage's network. What it puts out is read by its head, see :mod:`edgepose.train.heads`.

    Of a holistic stage: crops (N, 3, S, S) to all joints. Of a refine stage: crops (N, 3, S, S)
    and ``joint`` (N,), whose they are, to that joint; without ``joint`` the crops come in whole
    persons, joint i at rows i mod k.
    """

    joints: int
    slow: tuple[str, ...] = ()  # what the names of parameters begin with that start trained

    def begin(self, source: Path | None, crops: Crops) -> None:
        """Start from published weights, in the file ``source`` where they are not at hand.

        ``crops()`` gives crops (N, 3, S, S) of training persons, to a network that is thinned by
        what it sees. DataError where there is nothing to start from.
        """
        if source is not None:
            raise DataError(
                f"{source} cannot start a network of this recipe; give a checkpoint of it, or "
                "choose a recipe with the network 'movenet'"
            )

    def arrange(self) -> None:
        """Lay the weights out in memory as they train fastest; crops come channels last."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def start_from(self, earlier: dict[str, Tensor], crops: Crops) -> None:
        """Start from the weights of an earlier stage of the same recipe; DataError if it cannot."""
        raise NotImplementedError


class JointMapStage(StageNet):
    """A refine stage that shows by a map at stride 4 where the crop's own joint is.

    Tables hold a row per joint. Of k output maps only the i-th is computed, for the crop around
    joint i. An extra logit stands for "not in this crop" (a dustbin, as in SuperPoint, DeTone et
    al. 2018); ``prior`` holds where in its crop a joint tends to be.
    """

    weight: nn.Parameter
    prior: nn.Parameter
    outside: nn.Parameter
    outside_bias: nn.Parameter

    def read_by_map(self, size: int, channels: int, coarse: int) -> None:
        """Make the tables, for crops of ``size`` pixels and :meth:`maps` of so many channels."""
        k = self.joints
        self.weight = nn.Parameter(torch.randn(k, channels) * channels**-0.5)
        self.prior = nn.Parameter(torch.zeros(k, (size // 4) ** 2))
        self.outside = nn.Parameter(torch.zeros(k, coarse))
        self.outside_bias = nn.Parameter(torch.full((k, 1), 2.0))

    def maps(self, x: Tensor, own: Own) -> tuple[Tensor, Tensor]:
        """Crops (N, 3, S, S) to the map at stride 4 that is read, and the coarsest one.

        ``own`` turns a table (k, c) into the rows (N, c) of the crops' joints.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, joint: Tensor | None = None) -> Tensor:
        """Crops (N, 3, S, S), S a multiple of 8, to logits (N, (S/4)² + 1).

        ``joint`` (N,) says whose crops they are; None: they come in whole persons, joint i at rows
        i mod k.
        """
        n = x.shape[0]

        def own(table: Tensor) -> Tensor:
            return table.repeat(n // self.joints, 1) if joint is None else table[joint]

        fine, coarse = self.maps(x, own)
        logits = torch.matmul(own(self.weight)[:, None, :], fine.flatten(2)).squeeze(1)
        outside = (coarse.mean((2, 3)) * own(self.outside)).sum(-1, keepdim=True)
        outside = outside + own(self.outside_bias)
        return torch.cat((logits + own(self.prior), outside), -1)
