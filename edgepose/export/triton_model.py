"""The model ``edgepose`` of a Triton repository: edgepose's cascade over Triton's networks.

Triton's Python backend runs this file, which :mod:`edgepose.export.triton` copies into the
repository; ``edgepose`` must be installed for the Python that it runs. Input: ``frame`` (H, W, 3)
uint8 BGR and, if the persons are known, ``boxes`` (P, 4) float32 edges in pixels. Output: ``boxes``
(P, 5) with scores last, ``joints`` (P, k, 2) in pixels, ``scores`` (P, k) in [0, 1].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.cascade.host import HostCascade, checked_boxes
from edgepose.errors import BackendError
from edgepose.people.detector import Detector
from edgepose.types import Float


class ServedNetwork:
    """A network that another model of the repository runs."""

    def __init__(
        self, model: str, input: str, dtype: str, outputs: list[str], rows: int | None
    ) -> None:
        self._model, self._input, self._outputs = model, input, outputs
        self._dtype, self._rows = np.dtype(dtype), rows

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch, in as many requests as it takes. BackendError if Triton refuses one."""
        step = self._rows or len(batch)
        parts = [self._ask(batch[i : i + step]) for i in range(0, len(batch), step)]
        return tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def _ask(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        request = pb_utils.InferenceRequest(
            model_name=self._model,
            requested_output_names=self._outputs,
            inputs=[pb_utils.Tensor(self._input, rows.astype(self._dtype, copy=False))],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise BackendError(f"{self._model} failed: {response.error().message()}")
        found = (pb_utils.get_output_tensor_by_name(response, name) for name in self._outputs)
        return [np.asarray(tensor.as_numpy(), np.float32) for tensor in found]


class Triton:
    """The backend of that name: networks by what ``served.json`` says of them."""

    name = "triton"
    precision = "as served"

    def __init__(self, served: dict[str, dict[str, Any]]) -> None:
        self._served = served

    def load(self, bundle: Bundle, network: str) -> ServedNetwork:
        """The model that serves a network."""
        return ServedNetwork(**self._served[network])


class TritonPythonModel:
    """What Triton's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle that lies beside this file."""
        folder = Path(args["model_repository"]) / args["model_version"]
        backend = Triton(json.loads((folder / "served.json").read_text()))
        bundle = Bundle(folder / "bundle")
        self._cascade = HostCascade(bundle, backend)
        self._detector = None
        if bundle.manifest.detector is not None:
            self._detector = Detector.load(bundle, backend)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response a request; a request that cannot be served has its own error."""
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        """End the cascade's threads."""
        self._cascade.close()

    def _respond(self, request: Any) -> Any:
        try:
            outputs = self._estimate(request)
        except (ValueError, BackendError) as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor(n, v) for n, v in outputs.items()])

    def _estimate(self, request: Any) -> dict[str, Float]:
        tensor = pb_utils.get_input_tensor_by_name(request, "frame")
        frame = tensor.as_numpy()
        _check(frame, np.from_dlpack(tensor))
        given = pb_utils.get_input_tensor_by_name(request, "boxes")
        if given is not None:
            known = checked_boxes(given.as_numpy())
            boxes = np.concatenate((known, np.ones((len(known), 1), np.float32)), axis=1)
        elif self._detector is not None:
            boxes = self._detector(frame)
        else:
            raise ValueError("boxes are needed: this bundle has no detector")
        poses = self._cascade(frame, boxes)
        return {"boxes": boxes, "joints": poses.joints, "scores": poses.scores}


def _check(frame: NDArray[Any], same: NDArray[Any]) -> None:
    """Whether both ways to a tensor's values agree; ValueError if not.

    The Python backend of Triton 2.51 (24.10) and before reads the size of an element where NumPy 1
    kept it. With NumPy 2 it finds 0 there: every value of an input is the first one, every output
    has no bytes.
    """
    middle = len(frame) // 2
    if not np.array_equal(frame[middle : middle + 1], same[middle : middle + 1]):
        raise ValueError(
            f"This Triton's Python backend cannot read arrays of NumPy {np.__version__}; for the "
            'Python that it runs: pip install "numpy<2".'
        )
