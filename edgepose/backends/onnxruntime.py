"""ONNX Runtime on the CPU, the embedded default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.errors import BackendError, BundleError


class OnnxRuntimeNetwork:
    """One session; calls release the GIL and may come from any thread."""

    def __init__(self, path: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning workers would take the core that decodes the next frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise BackendError(f"onnxruntime cannot load {path}: {reason}") from error
        self._input = self._session.get_inputs()[0].name
        self.shape: list[int | str] = self._session.get_inputs()[0].shape

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch (n, 3, h, w) float32."""
        return tuple(self._session.run(None, {self._input: batch}))


class OnnxRuntime:
    """Backend ``onnxruntime``: float32 on the CPU."""

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, bundle: Bundle, network: str) -> OnnxRuntimeNetwork:
        """Load a network; BackendError if it is no ONNX, BundleError if of another size."""
        spec = bundle.network(network)
        loaded = OnnxRuntimeNetwork(spec.path, self.threads)
        # An open side has a name.
        sides = [
            b if isinstance(a, str) else a
            for a, b in zip(loaded.shape[1:], spec.shape, strict=False)
        ]
        if len(loaded.shape) != 4 or sides != list(spec.shape):
            raise BundleError(
                f"bundle {bundle.name} gives {network} an input of {spec.shape}, the network takes "
                f"{tuple(loaded.shape[1:])}; export it again"
            )
        return loaded
