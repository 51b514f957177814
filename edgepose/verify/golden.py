"""A bundle's golden pairs on a backend: one that is silently wrong is refused."""

from __future__ import annotations

import numpy as np

from edgepose.backends import Backend
from edgepose.bundle import Bundle
from edgepose.errors import BackendError, BundleError

# What rounding every layer may cost; float32 and whatever else there is must keep to 1e-3.
_TOLERANCE = {"float16": 0.02, "bfloat16": 0.1}


def verify_golden(
    bundle: Bundle, backend: Backend, tolerance: float | None = None
) -> dict[str, float]:
    """Run the golden pairs on ``backend``: the largest difference per stage from float64.

    Positions are normalised, scores in [0, 1]. Raises BackendError above ``tolerance``; None: 1e-3
    for float32, more for lower precisions.
    """
    if tolerance is None:
        tolerance = _TOLERANCE.get(backend.precision, 1e-3)
    worst: dict[str, float] = {}
    with np.load(bundle.path(bundle.manifest.golden.file)) as golden:
        for number in range(1, len(bundle.manifest.stages) + 1):
            names = [f"{kind}{number}" for kind in ("input", "points", "scores")]
            if not all(name in golden for name in names):
                raise BundleError(
                    f"bundle {bundle.name} has no golden pair for stage {number}; export it again"
                )
            inputs, *references = (golden[name] for name in names)
            outputs = backend.load(bundle, f"stage{number}")(inputs.astype(np.float32))
            if [o.shape for o in outputs] != [r.shape for r in references]:
                raise BackendError(
                    f"backend {backend.name} is wrong on stage {number} of {bundle.name}: its "
                    "outputs have other shapes; use --backend onnxruntime"
                )
            # NumPy's maximum keeps a NaN, Python's may not.
            differences = [np.abs(o - r).max() for o, r in zip(outputs, references, strict=True)]
            error = float(np.max(differences))
            worst[f"stage {number}"] = error
            if not error <= tolerance:
                raise BackendError(
                    f"backend {backend.name} is wrong on stage {number} of {bundle.name}: it is "
                    f"off by {error:.3g}, allowed are {tolerance:.3g}; use --backend onnxruntime"
                )
    return worst
