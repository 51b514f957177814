"""ONNX Runtime on the CPU, the embedded default."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.errors import BackendError, BundleError

Outputs = tuple[NDArray[np.float32], ...]

# Inside a network two threads save a sixth of the time and cost half as much again, on a machine of
# two cores whose second one decodes meanwhile (benchmarks/test_latency.py -k threads).
_WORTH_SHARING = 3


class OnnxRuntimeNetwork:
    """A network whose threads share the persons of a batch; calls may come from any thread.

    A thread takes one person after the other, in a session for just that: four persons at 192 px
    are 4 % quicker than as a batch of any size, another tenth where other processes fill the
    caches, and a person's numbers do not depend on who else is there.
    """

    def __init__(self, path: Path, threads: int, rows: int = 1) -> None:
        """``rows`` of a batch belong to one person, who is not divided.

        One person alone gets all threads inside the network, if they are enough to pay.
        """
        self.at_once, self._rows = threads, rows
        self._one = _open(path, 1, rows)
        self._alone = _open(path, threads, rows) if threads >= _WORTH_SHARING else self._one
        self._helpers = ThreadPoolExecutor(threads - 1, "edgepose-network") if threads > 1 else None
        self._input = self._one.get_inputs()[0].name
        self.shape: list[int | str] = self._one.get_inputs()[0].shape

    def __call__(self, batch: NDArray[np.float32], /) -> Outputs:
        """Run one batch (n, 3, h, w) float32."""
        persons = len(batch) // self._rows
        shares = min(self.at_once, persons)
        if shares < 2 or self._helpers is None:
            return self._run(self._alone, batch)
        cuts = [self._rows * (persons * i // shares) for i in range(1, shares)]
        first, *others = np.split(batch, cuts)
        helped = [self._helpers.submit(self._run, self._one, part) for part in others]
        parts = [self._run(self._one, first), *(part.result() for part in helped)]
        return tuple(np.concatenate(output) for output in zip(*parts, strict=True))

    def _run(self, session: ort.InferenceSession, batch: NDArray[np.float32]) -> Outputs:
        each = [
            session.run(None, {self._input: batch[start : start + self._rows]})
            for start in range(0, max(1, len(batch)), self._rows)
        ]
        return tuple(np.concatenate(output) for output in zip(*each, strict=True))


def _open(path: Path, threads: int, rows: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The open dimension of a bundle's stages, see edgepose/train/export.py; others stay open.
    options.add_free_dimension_override_by_name("n", rows)
    # Spinning workers would take the core that decodes the next frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"onnxruntime cannot load {path}: {reason}") from error


class OnnxRuntime:
    """Backend ``onnxruntime``: float32 on the CPU."""

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, bundle: Bundle, network: str) -> OnnxRuntimeNetwork:
        """Load a network; BackendError if it is no ONNX, BundleError if of another size."""
        spec = bundle.network(network)
        loaded = OnnxRuntimeNetwork(spec.path, self.threads, spec.rows)
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
