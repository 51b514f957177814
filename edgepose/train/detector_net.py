"""What the detector's networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class DetectorNet(nn.Module):
    """A one-class detector without anchors."""

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to score logits (B, N), boxes (B, N, 4) and points (N, 2), pixels."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Detect: (B, 3, H, W) normalised RGB, sides multiples of 32, to boxes and scores.

        Returns boxes (B, N, 4) ``x0, y0, x1, y1`` in input pixels and scores (B, N) in [0, 1]; in
        training mode what :meth:`raw` gives.
        """
        if self.training:
            return self.raw(x)
        logits, boxes, _ = self.raw(x)
        return boxes, logits.sigmoid()


def enlarge(x: Tensor) -> Tensor:
    """(B, C, H, W) to twice the sides, nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
