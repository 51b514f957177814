"""edgepose: real-time human pose on the edge, the DeepPose cascade as a streaming package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.backends import Backend, open_backend
from edgepose.bundle import Bundle, verify
from edgepose.cascade import Cascade, Poses
from edgepose.errors import BundleError
from edgepose.skeleton import COCO17, LSP14, Skeleton

# The function takes the name of its package on purpose: ``edgepose.stream("clip.mp4")``.
from edgepose.stream import open_source, stream

if TYPE_CHECKING:
    from edgepose.people.detector import Detector

__version__ = "0.1.0"
__all__ = [
    "COCO17",
    "LSP14",
    "Bundle",
    "Cascade",
    "Poses",
    "Skeleton",
    "load",
    "load_detector",
    "open_source",
    "stream",
    "verify",
]


def load(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
    *,
    check: bool = False,
) -> Cascade:
    """Load a cascade.

    ``bundle``: a folder, None for the shipped one. ``backend``: "auto" takes the best that is
    there; or one that is open. ``threads`` per network, None: all cores, at most 4. ``check``: run
    the golden pairs.
    Raises BundleError or BackendError with the remedy.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    runtime = _runtime(backend, threads)
    if check:
        verify(loaded, runtime)
    return Cascade(loaded, runtime)


def load_detector(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
) -> Detector:
    """Load a bundle's person detector; arguments and errors as for :func:`load`."""
    from edgepose.people.detector import Detector

    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    spec, pixels = loaded.manifest.detector, loaded.manifest.pixels
    if spec is None:
        raise BundleError(f"bundle {loaded.name} has no detector; use one that has, or give boxes")
    return Detector(
        _runtime(backend, threads).load(loaded.path(spec.file)),
        spec.size,
        scale=pixels.scale,
        mean=pixels.mean,
        std=pixels.std,
        threshold=spec.score,
        iou=spec.iou,
    )


def _runtime(backend: str | Backend, threads: int | None) -> Backend:
    """An open backend as it is, a name opened."""
    return open_backend(backend, threads) if isinstance(backend, str) else backend
