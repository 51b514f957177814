"""OpenVINO on the CPU (extra ``openvino``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.errors import BackendError


class OpenVinoNetwork:
    """One compiled model with its own request; one caller at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        # Without the hint newer CPUs compute in bfloat16, which moves joints by pixels.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        try:
            model = openvino.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise BackendError(f"openvino cannot load {path}: {reason}") from error
        self._request = model.create_infer_request()
        self._outputs = len(model.outputs)

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch (n, 3, h, w) float32."""
        self._request.infer([batch])
        return tuple(
            np.array(self._request.get_output_tensor(i).data) for i in range(self._outputs)
        )


class OpenVino:
    """Backend ``openvino``: float32 on the CPU."""

    name = "openvino"
    precision = "float32"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, bundle: Bundle, network: str) -> OpenVinoNetwork:
        """Load a bundle's network; BackendError if the runtime refuses it."""
        return OpenVinoNetwork(bundle.network(network).path, self.threads)
