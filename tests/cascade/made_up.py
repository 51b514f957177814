"""Three made-up stages that compute in no time, and crowds of boxes for them."""

from __future__ import annotations

import msgspec
import numpy as np

from edgepose.bundle import Bundle
from edgepose.bundle_manifest import StageSpec

SPECS = [(64, 1.3), (32, 1.5), (16, 0.7)]  # side of the crop, extent


class Smooth:
    """Made-up networks: outputs are smooth functions of the crop, other ones for each stage."""

    name, precision = "smooth", "float32"

    def load(self, bundle, name):
        rng = np.random.default_rng(int(name[-1]))
        joints = 14 if name == "stage1" else 1
        mix = rng.normal(0, 0.2, (3 * 8 * 8, 3 * joints))

        def network(crops):
            n, _, side, _ = crops.shape
            coarse = crops.reshape(n, 3, 8, side // 8, 8, side // 8).mean((3, 5))
            out = np.tanh(coarse.reshape(n, -1) @ mix).reshape(n, joints, 3).astype(np.float32)
            points, scores = out[..., :2] * np.float32(0.4), (out[..., 2] + 1) / 2
            return (points, scores) if joints > 1 else (points[:, 0], scores[:, 0])

        return network


def made_up(stages: int = 3) -> Bundle:
    """The shipped bundle's pixels and skeleton, with the first ``stages`` of ``SPECS``."""
    bundle = Bundle()
    specs = [StageSpec(f"stage{n}.onnx", "", *spec) for n, spec in enumerate(SPECS[:stages], 1)]
    bundle.manifest = msgspec.structs.replace(bundle.manifest, stages=specs)
    return bundle


def crowd(rng: np.random.Generator, persons: int, height: int, width: int) -> np.ndarray:
    """(persons, 4) boxes in and around a frame."""
    size = rng.uniform(0.1, 0.8, (persons, 2)) * [width, height]
    low = rng.uniform(-0.3, 0.8, (persons, 2)) * [width, height]
    return np.concatenate([low, low + size], axis=1).astype(np.float32)
