"""How the rooms are put together: load a cascade, load a detector, stream a source."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from edgepose.backends import Backend, default_threads, open_backend
from edgepose.backends.auto import open_auto
from edgepose.bundle import Bundle
from edgepose.cascade import Cascade
from edgepose.cascade.device import DeviceCascade
from edgepose.cascade.host import HostCascade
from edgepose.cuda.network import DeviceBackend
from edgepose.people.detector import Detector, PersonDetector, whole_frame
from edgepose.people.device_detector import DeviceDetector
from edgepose.people.estimator import Estimator
from edgepose.people.follower import Follower, Memory, Stills
from edgepose.people.options import TrackerOptions
from edgepose.runner.capture import Feed
from edgepose.runner.lifecycle import Patience
from edgepose.runner.pipeline import Pipeline
from edgepose.runner.policy import parse_policy
from edgepose.sources.open import open_source
from edgepose.sources.source import Source, SourceOptions
from edgepose.types import Result
from edgepose.verify.golden import verify_golden

__all__ = ["astream", "estimator", "load", "load_detector", "open_source", "stream"]


def load(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
    *,
    check: bool = False,
) -> HostCascade | DeviceCascade:
    """Load a cascade.

    ``bundle``: a folder, None for the shipped one. ``backend``: a name or one that is open; "auto"
    takes a GPU whose engines are built, or else onnxruntime, and says why in ``description``.
    ``threads`` per network, None: the cores shared among the stages, which work side by side.
    ``check``: run the golden pairs. On a backend with a device the whole cascade runs there. Raises
    BundleError or BackendError with the remedy.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    runtime, why = _runtime(loaded, backend, threads)
    if check:
        verify_golden(loaded, runtime)
    cascade = _cascade(loaded, runtime)
    if why:
        cascade.description += f" (auto: {why})"
    return cascade


def _cascade(bundle: Bundle, runtime: Backend) -> HostCascade | DeviceCascade:
    """On the device that a runtime has, if it has one that can take all of it."""
    if _has_device(runtime):
        return DeviceCascade(bundle, cast(DeviceBackend, runtime))
    return HostCascade(bundle, runtime)


def _has_device(runtime: Backend) -> bool:
    device = getattr(runtime, "device", None)
    return device is not None and device.graphs


def load_detector(
    bundle: Path | str | Bundle | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
) -> Detector | DeviceDetector:
    """Load a bundle's person detector; arguments and errors as for :func:`load`."""
    loaded = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    runtime, _ = _runtime(loaded, backend, threads)
    if _has_device(runtime):
        return DeviceDetector(loaded, cast(DeviceBackend, runtime))
    return Detector.load(loaded, runtime)


def _runtime(bundle: Bundle, backend: str | Backend, threads: int | None) -> tuple[Backend, str]:
    """An open backend as it is, a name opened, and for "auto" why it is that one.

    Engines that are built on the way are measured.
    """
    if not isinstance(backend, str):
        return backend, ""
    threads = threads or default_threads(len(bundle.manifest.stages))
    if backend == "auto":
        return open_auto(bundle, threads)
    if backend != "tensorrt":
        return open_backend(backend, threads), ""
    from edgepose.verify.engines import Verifier

    return open_backend(backend, threads, check=Verifier), ""


def estimator(
    sources: Sequence[Source],
    cascade: Cascade,
    detector: PersonDetector,
    *,
    detect_every: int | None = None,
    max_persons: int | None = None,
    smooth: bool = True,
    full: bool = False,
) -> Estimator:
    """What turns frames into persons: a follower for each source, stills for loose pictures.

    ``detect_every`` None takes the default; given for a folder of pictures it says that they are
    the frames of one video. ``full``: every frame shows one person, whose box it is; nobody is
    followed, and the pose is shown however sure it is.
    """
    if full:
        options = TrackerOptions(min_score=0.0)
        alone: dict[int, Memory] = {number: Stills(options) for number in range(len(sources))}
        exact = not any(source.live for source in sources)
        return Estimator(cascade, whole_frame, alone, exact=exact)
    given = {"detect_every": detect_every, "max_persons": max_persons}
    options = TrackerOptions(**{k: v for k, v in given.items() if v is not None})
    memories: dict[int, Memory] = {
        number: Follower(cascade.skeleton, options, smooth)
        if source.continuous or detect_every is not None
        else Stills(options)
        for number, source in enumerate(sources)
    }
    exact = not any(source.live for source in sources)
    return Estimator(cascade, detector, memories, exact=exact)


Spec = int | str | os.PathLike[str]


def stream(
    source: Spec | Source | Sequence[Spec | Source],
    *,
    bundle: str | Path | None = None,
    backend: str | Backend = "auto",
    threads: int | None = None,
    detect_every: int | None = None,
    max_persons: int | None = None,
    smooth: bool = True,
    max_frames: int | None = None,
    policy: str = "latest",
    give_up: float | None = None,
) -> Iterator[Result]:
    """Follow the persons in cameras, videos, folders, pictures or URLs, frame by frame.

    Decoding and inference run on threads of their own while the caller looks at a result; they end
    when the iterator is used up, closed or forgotten. Several sources share one cascade call per
    step; a result tells its ``source``. A live source that breaks off is opened again.

    Args:
        source: what :func:`open_source` takes, an open source (which the caller then closes), or a
            list of these.
        bundle: the model's folder; None takes the one that ships.
        backend: what runs the networks, ``"auto"`` the best that is there, or one that is open.
        threads: of each network; None shares the cores among the stages.
        detect_every: frames between two runs of the detector.
        max_persons: how many persons of a source are followed at most.
        smooth: whether joints are smoothed over time.
        max_frames: stop after so many results of a source.
        policy: what becomes of live frames while there is no time for them: ``latest`` (only the
            newest counts), ``all``, or ``max-age=MS``.
        give_up: seconds without a frame after which a lost live source has failed; None: it is
            tried for ever.

    Raises:
        SourceError, BundleError, BackendError: see their texts; a source that breaks off for good
            raises after the last result of all. ValueError for a policy that is none.
    """
    listed = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    rule = parse_policy(policy)
    with contextlib.ExitStack() as stack:
        feeds = open_feeds(listed, stack)
        model = Bundle(bundle)
        cascade = load(model, backend, threads)
        stack.callback(cascade.close)
        estimate = estimator(
            [feed.source for feed in feeds],
            cascade,
            load_detector(model, backend, threads),
            detect_every=detect_every,
            max_persons=max_persons,
            smooth=smooth,
        )
        patience = Patience(give_up=give_up)
        with Pipeline(
            feeds, estimate, policy=rule, max_frames=max_frames, patience=patience
        ) as pipeline:
            try:
                yield from pipeline
            finally:
                pipeline.close()
                if pipeline.reading:
                    # A device that does not answer is left to the end of the process.
                    stack.pop_all()


def open_feeds(
    sources: Sequence[Spec | Source],
    stack: contextlib.ExitStack,
    options: SourceOptions | None = None,
) -> list[Feed]:
    """Sources as a pipeline takes them; those that are not open yet are opened.

    What is opened here is closed with ``stack``, and opened again the same way when it is lost.
    SourceError if one cannot be opened.
    """
    feeds = []
    for number, source in enumerate(sources):
        if isinstance(source, Source):
            feeds.append(Feed(source))
            continue
        again = functools.partial(open_source, source, options, number=number)
        feeds.append(Feed(again(), again))
        stack.callback(feeds[-1].source.close)
    return feeds


async def astream(
    source: Spec | Source | Sequence[Spec | Source], **options: Any
) -> AsyncIterator[Result]:
    """:func:`stream` for asyncio, with its arguments and errors.

    Results are waited for on a thread, so that the loop stays free. Leaving it early ends the run;
    use ``contextlib.aclosing`` where that must not wait for the garbage collector.
    """
    import asyncio  # 40 ms of a small machine's time, which most programs can do without

    results = stream(source, **options)
    loop = asyncio.get_running_loop()
    # One thread: what is under way there ends before the stream is closed.
    pool = ThreadPoolExecutor(1, "edgepose-astream")
    try:
        while (result := await loop.run_in_executor(pool, next, results, None)) is not None:
            yield result
            del result
    finally:
        closing = pool.submit(getattr(results, "close", lambda: None))
        pool.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closing))
