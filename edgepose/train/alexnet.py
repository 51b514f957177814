"""The paper's own network, ψ: AlexNet on 220×220 crops, in a form that float16 engines can take.

C(55×55×96)–LRN–P–C(27×27×256)–LRN–P–C(13×13×384)–C(13×13×384)–C(13×13×256)–P–F(4096)–F(4096)
(Toshev & Szegedy 2014, section 3.3), then a linear layer to 2k coordinates. Of fourteen joints that
is 58.4 M parameters: 3.7 M in C, 37.8 M in the first F, 16.8 M in the second. The paper says "about
40 M", which is what C and the first F alone come to (41.5 M); how it counts is not told. The two
halves of the original AlexNet, which see half of the channels each, would save 1.4 M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.train.recipe import Kind
from edgepose.train.stage_net import Crops, StageNet

SIZE = 220  # side of the paper's input, pixels
_EARLY = 4  # layers before the second convolution


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
    conv = nn.Conv2d(cin, cout, kernel, stride, (kernel - 1) // 2)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # He et al. 2015
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return [conv, nn.ReLU()]


def _linear(cin: int, cout: int, deviation: float | None = None) -> nn.Linear:
    layer = nn.Linear(cin, cout)
    nn.init.normal_(layer.weight, std=deviation or (2 / cin) ** 0.5)
    nn.init.zeros_(layer.bias)
    return layer


class AlexNet(StageNet):
    """A stage of the paper's cascade: crops to normalised positions, or displacements.

    ``kind`` "holistic": crops (n, 3, S, S) to (n, k, 2). "refine": crops and ``joint`` (n,) to
    (n, 2), the i-th pair of outputs for the crop around joint i (ψ_i of equation (6); one network
    per stage, shared by the joints). ``width`` multiplies all channels; ``hidden`` is the width of
    F, on which ``dropout`` acts (None: 4096 times ``width``).
    """

    chosen: Tensor

    def __init__(
        self,
        kind: Kind,
        joints: int,
        size: int = SIZE,
        width: float = 1.0,
        dropout: float = 0.6,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.joints, self.kind = joints, kind
        c1, c2, c3 = (round(width * c) for c in (96, 256, 384))
        hidden = hidden or round(width * 4096)
        self.features = nn.Sequential(
            *_layer(3, c1, 11, 4),
            PortableLRN(c1),
            nn.MaxPool2d(3, 2),
            *_layer(c1, c2, 5),
            PortableLRN(c2),
            nn.MaxPool2d(3, 2),
            *_layer(c2, c3, 3),
            *_layer(c3, c3, 3),
            *_layer(c3, c2, 3),
            nn.MaxPool2d(3, 2),
        )
        side = (size - 1) // 4 + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        self.head = nn.Sequential(
            nn.Flatten(),
            _linear(c2 * side * side, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            _linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            # A refining stage begins by moving joints by little, hundredths of its crop.
            _linear(hidden, 2 * joints, 0.01 if kind == "holistic" else 0.001),
        )
        self.register_buffer("chosen", torch.eye(joints)[:, :, None], persistent=False)
        self.wide, self.planar = c1 >= 64, False  # planar: planes from the second convolution on

    def arrange(self) -> None:
        """Channels last up to the first pooling; behind it planes train a tenth faster if wide."""
        self.planar = self.wide
        early = self.features[:_EARLY] if self.planar else self
        early.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, crops: Tensor, joint: Tensor | None = None) -> Tensor:
        """Run the network; see the class and :class:`StageNet`."""
        x = self.features[:_EARLY](crops)
        x = self.features[_EARLY:](x.contiguous() if self.planar else x)
        y: Tensor = self.head(x).reshape(-1, self.joints, 2)
        if self.kind == "holistic":
            return y
        if joint is not None:
            return y[torch.arange(len(y), device=y.device), joint]
        # A product and a sum: engines take them in every precision.
        y = y.reshape(-1, self.joints, self.joints, 2)
        return (y * self.chosen).sum(2).reshape(-1, 2)

    def start_from(self, earlier: dict[str, Tensor], crops: Crops) -> None:
        """Copy all but the last layer, where the sizes agree."""
        own = self.state_dict()
        last = ("head.7.weight", "head.7.bias")
        same = {n: v for n, v in earlier.items() if n not in last and v.shape == own[n].shape}
        self.load_state_dict(own | same)
