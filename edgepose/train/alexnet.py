"""The paper's own network: AlexNet on 220×220 crops, in a form that float16 engines can take.

C(55×55×96)–LRN–P–C(27×27×256)–LRN–P–C(13×13×384)–C(13×13×384)–C(13×13×256)–P–F(4096)–F(4096)
(Toshev & Szegedy 2014, section 3.3). The paper counts about 40 M parameters; these layers, without
the two halves of the original AlexNet, have 58 M. No weights ship: it is here for comparison and as
a path from the paper's network to an engine.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 220  # side of the input, pixels


class PortableLRN(nn.Module):
    """Local response normalisation across channels, x / (k + α/n·Σ x²)^0.75, for float16 engines.

    Exporters break LRN up into slices or pools, and α·x² leaves float16's range at both ends. Here
    ``q = x·√(α/n)`` is squared, a 1×1 convolution with a band matrix sums the neighbours and adds
    k, and ``t = 1/√s`` gives ``s^-0.75 = t·√t``. Within ±20,000 nothing overflows.
    """

    band: Tensor
    offset: Tensor

    def __init__(self, channels: int, n: int = 5, alpha: float = 1e-4, k: float = 2.0) -> None:
        super().__init__()
        index = torch.arange(channels)
        near = (index[:, None] - index[None, :]).abs() <= n // 2
        self.register_buffer("band", near.float()[:, :, None, None], persistent=False)
        self.register_buffer("offset", torch.full((channels,), k), persistent=False)
        self.scale = (alpha / n) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        q = x * self.scale
        t = F.conv2d(q * q, self.band, self.offset).rsqrt()
        return x * t * t.sqrt()


def _layer(cin: int, cout: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, kernel, stride, (kernel - 1) // 2), nn.ReLU()]


class AlexNetStage(nn.Module):
    """One stage of the paper's cascade: crops to a position, or displacement, and a score a joint.

    ``select`` False (stage 1): crops (n, 3, 220, 220) to (n, k, 2) and (n, k). True (later stages):
    crops (n·k, 3, 220, 220), joint i at rows i mod k, to (n·k, 2) and (n·k,): the i-th output is
    read for the crop around joint i. The score is the sigmoid of a third output per joint.
    ``hidden``: width of the two F layers.
    """

    chosen: Tensor

    def __init__(self, joints: int, select: bool = False, hidden: int = 4096) -> None:
        super().__init__()
        self.joints, self.select = joints, select
        self.features = nn.Sequential(
            *_layer(3, 96, 11, 4),
            PortableLRN(96),
            nn.MaxPool2d(3, 2),
            *_layer(96, 256, 5),
            PortableLRN(256),
            nn.MaxPool2d(3, 2),
            *_layer(256, 384, 3),
            *_layer(384, 384, 3),
            *_layer(384, 256, 3),
            nn.MaxPool2d(3, 2),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(256 * 6 * 6, hidden),
            nn.ReLU(),
            nn.Dropout(0.6),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(0.6),
            nn.Linear(hidden, joints * 3),
        )
        self.register_buffer("chosen", torch.eye(joints)[:, :, None], persistent=False)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network; see the class."""
        y = self.head(self.features(crops)).reshape(-1, self.joints, 3)
        if self.select:
            y = y.reshape(-1, self.joints, self.joints, 3)
            y = (y * self.chosen).sum(2).reshape(-1, 3)
        return y[..., :2], y[..., 2].sigmoid()
