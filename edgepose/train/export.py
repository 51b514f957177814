"""From trained networks to a bundle: ONNX with calibrated scores, golden pairs, ``bundle.toml``."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import tomli_w
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgepose.bundle import Bundle
from edgepose.bundle_manifest import (
    FORMAT,
    BundleManifest,
    DetectorSpec,
    GoldenSpec,
    Pixels,
    StageSpec,
    sealed,
)
from edgepose.skeleton import SKELETONS, Skeleton, skeleton_spec
from edgepose.train.calibrate import EPSILON
from edgepose.train.heads import Head
from edgepose.train.networks import SameConv
from edgepose.train.onnx_graph import store_float16, tidy
from edgepose.train.stage_net import StageNet

_OPSET = 17


def fold_batch_norm(module: nn.Module) -> None:
    """Merge every BatchNorm of a module in eval mode into the convolution before it, in place."""
    for child in module.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for i in range(len(child) - 1):
            conv, norm = child[i], child[i + 1]
            if not (isinstance(conv, SameConv) and isinstance(norm, nn.BatchNorm2d)):
                continue
            mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
            gain = (norm.weight / (var + norm.eps).sqrt()).detach()
            conv.weight = nn.Parameter(conv.weight.detach() * gain[:, None, None, None])
            conv.bias = nn.Parameter(norm.bias.detach() - mean * gain)
            child[i + 1] = nn.Identity()


def deployable(model: nn.Module) -> None:
    """Put a network into the form that ships, in place: BatchNorm folded, weights float16 values.

    The file stores weights in float16, so golden outputs must come from the rounded ones.
    """
    model.eval().requires_grad_(False)
    fold_batch_norm(model)
    for p in model.parameters():
        p.requires_grad_(False)
        if p.ndim > 1:
            p.copy_(p.half().float())


class Calibrated(nn.Module):
    """Turns the maps' window masses into the chance that each joint is right.

    ``slope``, ``context`` and ``offset`` (k,) as of :func:`edgepose.train.calibrate.fit`.
    """

    slope: Tensor
    context: Tensor
    offset: Tensor

    def __init__(
        self,
        slope: NDArray[np.float32],
        context: NDArray[np.float32],
        offset: NDArray[np.float32],
    ) -> None:
        super().__init__()
        self.register_buffer("slope", torch.as_tensor(slope))
        self.register_buffer("context", torch.as_tensor(context))
        self.register_buffer("offset", torch.as_tensor(offset))

    def forward(self, mass: Tensor) -> Tensor:
        """(P, k) masses to (P, k) scores in [0, 1]."""
        mass = mass.clamp(EPSILON, 1 - EPSILON)
        logit = torch.log(mass) - torch.log(1 - mass)
        person = logit.mean(-1, keepdim=True)
        return torch.sigmoid(logit * self.slope + person * self.context + self.offset)


class ExportedStage(nn.Module):
    """A stage as it ships: its network, decoded by its head, with calibrated scores.

    Holistic: crops (n, 3, S, S) to points (n, k, 2) in [-0.5, 0.5] of the box, and scores (n, k).
    Refine: crops (n·k, 3, S, S), joint i at rows i mod k, to displacements (n·k, 2) and scores
    (n·k,).
    """

    def __init__(self, model: StageNet, head: Head, calibrated: Calibrated) -> None:
        super().__init__()
        self.model, self.head, self.calibrated = model, head, calibrated

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network and read it."""
        points, mass = self.head.decode(self.model(crops))
        if mass.ndim == 2:
            return points, self.calibrated(mass)
        return points, self.calibrated(mass.reshape(-1, self.model.joints)).flatten()


def export_onnx(
    model: nn.Module,
    example: Tensor,
    path: Path,
    names: Sequence[str],
    *,
    axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write ``model`` as ONNX, weights stored as float16; see :func:`deployable`.

    ``names`` are the input's and the outputs'; ``axes`` names their open dimensions, by default the
    first of each.
    """
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but needs no further package and keeps the graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(names[:1]),
            output_names=list(names[1:]),
            dynamic_axes=axes or {name: {0: "n"} for name in names},
        )
    tidy(path)
    store_float16(path)


@dataclass
class StageExport:
    """One stage ready to be written: its network, input side and extent, and a real input."""

    network: nn.Module
    size: int
    extent: float
    golden: NDArray[np.float32]

    def __post_init__(self) -> None:
        # The pair is stored in float16; what it is compared on must be what is stored.
        self.golden = self.golden.astype(np.float16).astype(np.float32)

    def run(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The float64 reference outputs on the golden input: points and scores."""
        double = copy.deepcopy(self.network).double()
        with torch.no_grad():
            points, scores = double(torch.from_numpy(self.golden.astype(np.float64)))
        return points.numpy(), scores.numpy()


def write_bundle(
    folder: Path,
    stages: Sequence[StageExport],
    *,
    name: str,
    version: str,
    skeleton: Skeleton,
    pixels: Pixels,
    detector: tuple[Path, DetectorSpec] | None,
    training: dict[str, str | int | float],
) -> None:
    """Write a bundle folder; ``bundle.toml`` last, so that a half-written one does not load.

    ``detector``: its ONNX file, and its description but for the hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest_path = folder / "bundle.toml"
    manifest_path.unlink(missing_ok=True)
    golden: dict[str, NDArray[np.float16] | NDArray[np.float64]] = {}
    specs = []
    for number, stage in enumerate(stages, 1):
        path = folder / f"stage{number}.onnx"
        names = ("crops", "points" if number == 1 else "displacements", "scores")
        export_onnx(stage.network, torch.from_numpy(stage.golden), path, names)
        points, scores = stage.run()
        golden |= {f"input{number}": stage.golden.astype(np.float16)}
        golden |= {f"points{number}": points, f"scores{number}": scores}
        specs.append(StageSpec(path.name, _sha256(path), stage.size, stage.extent))
    np.savez_compressed(folder / "golden.npz", allow_pickle=False, **golden)
    found = None
    if detector is not None:
        source, described = detector
        path = folder / described.file
        path.write_bytes(source.read_bytes())
        found = msgspec.structs.replace(described, sha256=_sha256(path))
    manifest = BundleManifest(
        format=FORMAT,
        name=name,
        version=version,
        skeleton=skeleton.name
        if SKELETONS.get(skeleton.name) == skeleton
        else skeleton_spec(skeleton),
        licence="Apache-2.0",
        pixels=pixels,
        stages=specs,
        golden=GoldenSpec("golden.npz", _sha256(folder / "golden.npz")),
        detector=found,
        training=training,
    )
    _write_manifest(folder, manifest)


def replace_detector(folder: Path | str, network: Path | str, detector: DetectorSpec) -> None:
    """Put another detector into a bundle, whose stages stay as they are.

    ``network``: its ONNX file. ``detector``: its description but for the hash.
    """
    bundle = Bundle(folder)
    path = bundle.path(detector.file)
    path.write_bytes(Path(network).read_bytes())
    detector = msgspec.structs.replace(detector, sha256=_sha256(path))
    _write_manifest(bundle.folder, msgspec.structs.replace(bundle.manifest, detector=detector))


def _write_manifest(folder: Path, manifest: BundleManifest) -> None:
    plain = msgspec.to_builtins(manifest)
    plain = {key: value for key, value in plain.items() if value is not None}
    (folder / "bundle.toml").write_text(sealed(tomli_w.dumps(plain)))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
