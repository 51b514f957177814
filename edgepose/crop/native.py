"""The module of CUDA kernels, where there is one."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from edgepose.errors import BackendError

if TYPE_CHECKING:
    from edgepose import _cuda as _cuda
else:
    try:
        from edgepose import _cuda
    except ImportError:  # built without CUDA; module() says so
        _cuda = None


def module() -> ModuleType:
    """Return ``edgepose._cuda``.

    Raises:
        BackendError: edgepose was built without CUDA.
    """
    if _cuda is None:
        raise BackendError(
            "This edgepose was built without CUDA: install the CUDA toolkit and reinstall with "
            "EDGEPOSE_CUDA=1."
        )
    return _cuda


def has_cuda() -> bool:
    """Return whether edgepose was built with CUDA."""
    return _cuda is not None


def device_count() -> int:
    """Return how many CUDA devices can be used: 0 without a GPU, a driver or a CUDA build."""
    return 0 if _cuda is None else _cuda.device_count()
