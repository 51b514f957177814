"""A later stage on the shallow layers of stage 1's MoveNet trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.errors import DataError
from edgepose.train.movenet import (
    AT4,
    HEAD,
    PYRAMID,
    InvertedResidual,
    MoveNetStageOne,
    Separable,
    block_rows,
)
from edgepose.train.networks import SameConv
from edgepose.train.stage_net import Crops, JointMapStage, Own
from edgepose.train.thinning import copy_channels, thin

_STEM = 16
# The trunk's blocks to stride 8, with half of their inner channels.
_BLOCKS = [(*row, max(1, expand // 2)) for *row, expand in block_rows(_STEM)[:6]]
_TOLD = 3  # behind this block the network is told which joint it looks for


class MoveNetRefine(JointMapStage):
    """Stage s >= 2: the crop around one joint to a map of where that joint is, at stride 4.

    Stage 1's layers down to stride 8, with half of their inner channels, and its way back up to
    stride 4. What stage 1 knows from the rest of the body is missing here; a scale and two shifts
    per joint stand in for it. ``slow``: parameters that start trained.
    """

    slow = ("stem.", "blocks.")

    def __init__(self, joints: int, size: int) -> None:
        super().__init__()
        self.joints = joints
        self.stem = SameConv(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList(
            InvertedResidual(cin, cout, stride, expand) for cin, cout, stride, expand in _BLOCKS
        )
        _, at8, at4, out = PYRAMID
        self.lateral8, self.lateral4 = SameConv(32, at8, 1), SameConv(24, at4, 1)
        self.smooth8, self.smooth4 = Separable(at8, at4), Separable(at4, out)
        self.smooth = Separable(out, HEAD)
        self.scale8 = nn.Parameter(torch.ones(joints, 32))
        self.shift8 = nn.Parameter(torch.zeros(joints, 32))
        self.shift4 = nn.Parameter(torch.zeros(joints, at4))
        self.read_by_map(size, HEAD, 32)

    def maps(self, x: Tensor, own: Own) -> tuple[Tensor, Tensor]:
        """See :class:`JointMapStage`."""

        def each(table: Tensor) -> Tensor:
            return own(table)[:, :, None, None]

        x = F.relu6(self.stem(x))
        fine = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == AT4:
                fine = x
            elif i == _TOLD:
                x = x * each(self.scale8) + each(self.shift8)
        y = self.smooth8(self.lateral8(x))
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.smooth(self.smooth4(y + self.lateral4(fine) + each(self.shift4))), x

    @torch.no_grad()
    def start_from(self, earlier: dict[str, Tensor], crops: Crops) -> None:
        """Copy what a trained stage 1 (state ``earlier``) shares; ``crops()`` show what matters.

        Of every layer's inner channels those are kept from which the layer behind can be fitted.
        """
        stage_one = MoveNetStageOne(self.joints)
        try:
            stage_one.load_state_dict(earlier)
        except (KeyError, RuntimeError) as error:
            raise DataError(
                "a later stage of the network 'movenet' starts from a stage 1 of that network; "
                "train stage 1 by the same recipe"
            ) from error
        trunk = stage_one.trunk
        wide, x = trunk.stem, F.relu6(trunk.stem(crops()))
        narrow = self.stem
        for own, theirs in zip(self.blocks, trunk.blocks, strict=False):
            assert isinstance(own, InvertedResidual)
            assert isinstance(theirs, InvertedResidual)
            if theirs.expand is not None and own.expand is not None:
                wide, narrow = theirs.expand, own.expand
            inner = x if theirs.expand is None else F.relu6(theirs.expand(x))
            inner = F.relu6(theirs.depthwise(inner))
            kept = thin(inner, theirs.project, own.project)
            for target, source in ((narrow, wide), (own.depthwise, theirs.depthwise)):
                copy_channels(source, target, kept)
            x = theirs(x)
        pairs = (
            (self.lateral8, trunk.lateral[1]),
            (self.lateral4, trunk.lateral[2]),
            (self.smooth8, trunk.smooth[1]),
            (self.smooth4, trunk.smooth[2]),
            (self.smooth, stage_one.smooth),
        )
        for own, theirs in pairs:
            own.load_state_dict(theirs.state_dict())
        self.weight.copy_(stage_one.head.weight[:, :, 0, 0])
