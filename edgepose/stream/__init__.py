"""Frames in, persons out: sources, the staged pipeline and its statistics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.stream.source import Source
from edgepose.stream.sources import open_source

if TYPE_CHECKING:
    from edgepose.people.follow import PersonDetector, PoseEstimator
    from edgepose.results import Result
    from edgepose.stream.pipeline import Estimate

__all__ = ["Source", "estimator", "open_source", "stream"]


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
    from edgepose.people.follow import Follower, Stills
    from edgepose.people.tracker import TrackerOptions

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
    import edgepose
    from edgepose.stream.pipeline import Pipeline

    owned = not isinstance(source, Source)
    opened = source if isinstance(source, Source) else open_source(source)
    reading = False
    try:
        model = edgepose.Bundle(bundle)
        cascade = edgepose.load(model, backend, threads)
        detector = edgepose.load_detector(model, backend, threads)
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
