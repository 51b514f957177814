"""Runtimes that execute a bundle's networks: one protocol, one module per runtime.

A runtime is imported only when it is asked for; if it is not installed, the error says how to get
it. Nothing falls back silently.
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.errors import BackendError

__all__ = ["BACKENDS", "Backend", "Network", "open_backend"]


class Network(Protocol):
    """A loaded network: float32 (n, …) in, its outputs in the exported order."""

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch."""
        ...


class Backend(Protocol):
    """A runtime with its settings."""

    @property
    def name(self) -> str:
        """Name as typed by the user."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic of the networks, e.g. ``float32``."""
        ...

    def load(self, bundle: Bundle, network: str) -> Network:
        """Load a bundle's network, such as ``stage1``; BackendError if the runtime refuses it."""
        ...


# module, class, package to install
BACKENDS = {
    "onnxruntime": ("edgepose.backends.onnxruntime", "OnnxRuntime", "onnxruntime"),
    "openvino": ("edgepose.backends.openvino", "OpenVino", "openvino"),
    "tensorrt": ("edgepose.backends.tensorrt", "TensorRt", "tensorrt"),
    "torch": ("edgepose.backends.torch", "TorchBackend", "torch onnx"),
}


def default_threads(networks: int = 1) -> int:
    """Threads of each of ``networks`` that work side by side: the cores' share, at least 1.

    At most 4: small networks gain nothing from more. ``benchmarks/test_latency.py`` measures it: a
    thread each beats two threads for one after the other.
    """
    return max(1, min(4, len(os.sched_getaffinity(0)) // networks))


def open_backend(name: str = "auto", threads: int | None = None, **options: Any) -> Backend:
    """The backend called ``name``; "auto" is onnxruntime, the embedded default.

    ``threads`` per network call; None: all cores, at most 4. ``options`` are the backend's own.
    Raises BackendError if the name is unknown or the runtime is not installed.
    """
    if threads is not None and threads < 1:
        raise BackendError(f"threads must be at least 1, not {threads}")
    key = "onnxruntime" if name == "auto" else name
    if key not in BACKENDS:
        raise BackendError(
            f"unknown backend {name!r}; choose one of auto, {', '.join(sorted(BACKENDS))}"
        )
    module, kind, package = BACKENDS[key]
    try:
        factory = getattr(importlib.import_module(module), kind)
    except ImportError as error:
        raise BackendError(
            f"backend {key} is not installed ({error}); install it with: pip install {package}"
        ) from error
    backend: Backend = factory(threads or default_threads(), **options)
    return backend
