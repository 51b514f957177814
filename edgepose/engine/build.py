"""The engines of a bundle: what is wanted, what is there, and building what is missing."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import msgspec

from edgepose.bundle import NetworkSpec
from edgepose.engine.adapter import build_plan
from edgepose.engine.api import Shape
from edgepose.engine.cache import Cache
from edgepose.engine.convert import strongly_typed
from edgepose.engine.manifest import FORMAT, Drift, EngineManifest, Identity
from edgepose.engine.progress import BuildProgress
from edgepose.engine.recipe import Limits, Precision
from edgepose.engine.request import Request
from edgepose.errors import EngineError
from edgepose.version import __version__

_POLL = 0.05  # seconds between looks at a running build


class Report(Protocol):
    """Told what happens."""

    def waiting(self, folder: Path) -> None:
        """Another process builds in that folder."""
        ...

    def note(self, sentence: str) -> None:
        """Why an engine that is there cannot be used."""
        ...

    def building(self, network: NetworkSpec, tracker: BuildProgress) -> None:
        """A build goes on; called several times a second, also at its beginning."""
        ...

    def built(self, network: NetworkSpec) -> None:
        """A build is over, whichever way."""
        ...


class Check(Protocol):
    """Measures drift."""

    def __call__(self, network: NetworkSpec, identity: Identity, plan: bytes) -> Drift:
        """Drift of one engine."""
        ...

    def end_to_end(self) -> Drift | None:
        """Drift of the whole cascade; None unless all its stages were measured."""
        ...


@dataclass
class BuiltEngine:
    """An engine that can be used: its manifest, and whether it was built just now."""

    network: NetworkSpec
    manifest: EngineManifest
    fresh: bool
    plan: bytes = field(repr=False)


def engines(
    request: Request,
    wanted: Sequence[NetworkSpec],
    cache: Cache,
    report: Report,
    *,
    build: bool = True,
    rebuild: bool = False,
    check: Check | None = None,
    recheck: bool = False,
) -> list[BuiltEngine]:
    """The engines of ``wanted``, in order; missing ones are built and kept.

    ``build`` False: stop if one is missing. ``rebuild``: build all anew. ``check`` measures the
    drift of new engines, with ``recheck`` of all; beyond the recipe's limits an engine is refused.
    New engines are kept when all are built and checked. Raises EngineError; engines that were there
    stay as they are.
    """
    found = {} if rebuild else _found(request, wanted, cache, report, build=build)
    if len(found) < len(wanted):
        with cache.lock(lambda: report.waiting(cache.folder)):
            if not rebuild:  # the one who held the lock may have built them
                found = _found(request, wanted, cache, None, build=True)
            missing = [n for n in wanted if n.name not in found]
            fresh = [_build(request, network, report) for network in missing]
            found |= {engine.network.name: engine for engine in fresh}
            if check is not None:
                _check([*found.values()] if recheck else fresh, check, request.recipe.limits)
            for engine in fresh:
                cache.store(engine.manifest, engine.plan)
    elif check is not None and recheck:
        _check([*found.values()], check, request.recipe.limits)
    return [found[n.name] for n in wanted]


def _found(
    request: Request,
    wanted: Sequence[NetworkSpec],
    cache: Cache,
    report: Report | None,
    *,
    build: bool,
) -> dict[str, BuiltEngine]:
    """Engines that are there and whole, by network; EngineError if one must be, or is damaged."""
    found = {}
    for network in wanted:
        manifest, reason = cache.find(request.bundle.name, request.identity(network))
        if manifest is not None:
            try:
                found[network.name] = BuiltEngine(network, manifest, False, cache.read(manifest))
            except EngineError as error:
                remedy = f"build it again with: {request.command('--rebuild')}"
                raise EngineError(f"{error}; {remedy}") from error
        elif not build:
            text = reason or f"there is no engine for {network.name} in {cache.folder}"
            raise EngineError(f"{text}; build it with: {request.command()}")
        elif reason and report is not None:
            report.note(f"{reason}; it is built again.")
    return found


def _check(made: Sequence[BuiltEngine], check: Check, limits: Limits) -> None:
    """Measure engines, one by one and together; EngineError beyond the limits."""
    for engine in made:
        identity = engine.manifest.identity
        drift = check(engine.network, identity, engine.plan)
        engine.manifest = msgspec.structs.replace(engine.manifest, drift=drift)
        what = f"the {identity.precision} engine of {engine.network.name}"
        _refuse(drift, limits, what, identity.precision)
    whole = check.end_to_end()
    if whole is not None:
        precision = made[0].manifest.identity.precision
        # An untrained stage moves joints so far that the next one's crops are others altogether.
        alone = " though each engine alone does not: a later stage makes small differences large"
        _refuse(whole, limits, f"the cascade of {precision} engines", precision, alone)


def _refuse(drift: Drift, limits: Limits, what: str, precision: Precision, why: str = "") -> None:
    if drift.pixels <= limits.pixels and drift.scores <= limits.scores:
        return
    if precision == "fp32":
        other = "a --recipe with wider limits"
    elif precision == "bf16":
        other = "--precision fp16 or fp32"
    else:  # bfloat16 rounds more, but does not overflow
        other = "--precision fp32" if math.isfinite(drift.pixels) else "--precision bf16 or fp32"
    raise EngineError(
        f"{what} is refused: joints drift by {drift.pixels:.3g} pixels on a 220-pixel person "
        f"(allowed {limits.pixels:g}) and scores by {drift.scores:.3g} (allowed "
        f"{limits.scores:g}){why}; try {other}, or keep more layers in float32 in the recipe"
    )


def shapes(network: NetworkSpec, identity: Identity) -> dict[str, list[Shape]]:
    """Shapes of the input, one for each number of persons."""
    batch = identity.batch or (1,)
    return {network.input: [(n * network.rows, *network.shape) for n in batch]}


def _build(request: Request, network: NetworkSpec, report: Report) -> BuiltEngine:
    """Build one engine; nothing is written."""
    identity = request.identity(network)
    tracker, start = BuildProgress(), time.monotonic()

    def work() -> bytes:
        return build_plan(
            request.flavour,
            strongly_typed(network.path, identity.precision, identity.float32),
            shapes(network, identity),
            targets=identity.targets,
            workspace=identity.workspace << 20,
            progress=tracker,
        )

    # In a thread of its own: Ctrl-C must not fall into one of the builder's callbacks.
    with ThreadPoolExecutor(1, "edgepose-build") as pool:
        future = pool.submit(work)
        try:
            while not wait([future], _POLL).done:
                report.building(network, tracker)
            plan = future.result()
        except BaseException:
            tracker.cancel()
            raise
        finally:
            report.built(network)
    digest = hashlib.sha256(plan).hexdigest()
    manifest = EngineManifest(
        format=FORMAT,
        bundle=request.bundle.name,
        identity=identity,
        plan=f"{network.name}-{identity.key}-{digest[:8]}.plan",
        sha256=digest,
        bytes=len(plan),
        seconds=round(time.monotonic() - start, 3),
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        edgepose=__version__,
    )
    return BuiltEngine(network, manifest, True, plan)
