"""How the rooms are put together: load a cascade, load a detector, stream a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgepose.backends import Backend, open_backend
from edgepose.bundle import Bundle
from edgepose.cascade.host import HostCascade
from edgepose.people.detector import Detector, PersonDetector
from edgepose.people.follower import Follower, PoseEstimator, Stills
from edgepose.people.tracker import TrackerOptions
from edgepose.runner.pipeline import Estimate, Pipeline
from edgepose.sources.open import open_source
from edgepose.sources.source import Source
from edgepose.types import Result
from edgepose.verify.golden import verify_golden

__all__ = ["estimator", "load", "load_detector", "open_source", "stream"]


def load(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
    *,
    check: bool = False,
) -> HostCascade:
    """Load a cascade.

    ``bundle``: a folder, None for the shipped one. ``backend``: a name, "auto" for onnxruntime, or
    one that is open. ``threads`` per network, None: all cores, at most 4. ``check``: run the golden
    pairs. Raises BundleError or BackendError with the remedy.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    runtime = _runtime(backend, threads)
    if check:
        verify_golden(loaded, runtime)
    return HostCascade(loaded, runtime)


def load_detector(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
) -> Detector:
    """Load a bundle's person detector; arguments and errors as for :func:`load`."""
    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    return Detector.load(loaded, _runtime(backend, threads))


def _runtime(backend: str | Backend, threads: int | None) -> Backend:
    """An open backend as it is, a name opened; engines that are built on the way are measured."""
    if not isinstance(backend, str):
        return backend
    if backend != "tensorrt":
        return open_backend(backend, threads)
    from edgepose.verify.engines import Verifier

    return open_backend(backend, threads, check=Verifier)


def estimator(
    source: Source,
    cascade: PoseEstimator,
    detector: PersonDetector,
    *,
    detect_every: int | None = None,
    max_persons: int | None = None,
    smooth: bool = True,
) -> Estimate:
    """What turns the frames of ``source`` into persons: a follower, or stills for loose pictures.

    ``detect_every`` None takes the default; given for a folder of pictures it says that they are
    the frames of one video.
    """
    given = {"detect_every": detect_every, "max_persons": max_persons}
    options = TrackerOptions(**{k: v for k, v in given.items() if v is not None})
    if source.continuous or detect_every is not None:
        return Follower(cascade, detector, options, smooth)
    return Stills(cascade, detector, options)


def stream(
    source: int | str | os.PathLike[str] | Source,
    *,
    bundle: str | Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    detect_every: int | None = None,
    max_persons: int | None = None,
    smooth: bool = True,
    max_frames: int | None = None,
) -> Iterator[Result]:
    """Follow the persons in a camera, video, folder, picture or URL, frame by frame.

    Decoding and inference run on threads of their own while the caller looks at a result; they end
    when the iterator is used up, closed or forgotten.

    Args:
        source: what :func:`open_source` takes, or an open source (which the caller then closes).
        bundle: the model's folder; None takes the one that ships.
        backend: what runs the networks, ``"auto"`` the best that is there.
        threads: of the inference; None leaves it to the backend.
        detect_every: frames between two runs of the detector.
        max_persons: how many persons are followed at most.
        smooth: whether joints are smoothed over time.
        max_frames: stop after so many results.

    Raises:
        SourceError, BundleError, BackendError: see their texts; a source that breaks off raises
            after its last result.
    """
    owned = not isinstance(source, Source)
    opened = source if isinstance(source, Source) else open_source(source)
    reading = False
    try:
        model = Bundle(bundle)
        cascade = load(model, backend, threads)
        detector = load_detector(model, backend, threads)
        estimate = estimator(
            opened,
            cascade,
            detector,
            detect_every=detect_every,
            max_persons=max_persons,
            smooth=smooth,
        )
        with Pipeline(opened, estimate, max_frames=max_frames) as pipeline:
            try:
                yield from pipeline
            finally:
                pipeline.close()
                reading = pipeline.reading
    finally:
        # A device that does not answer is left to the end of the process.
        if owned and not reading:
            opened.close()
