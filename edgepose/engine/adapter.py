"""Plans, built by ``tensorrt`` 10.3 to 11.x and ``tensorrt_rtx`` 1.7 through one face.

All that touches their API is here and in :mod:`edgepose.engine.runtime`, written against
:mod:`edgepose.engine.api`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from edgepose.engine import api
from edgepose.engine.flavour import Flavour, Module
from edgepose.engine.messages import Messages
from edgepose.errors import EngineError


class Progress(Protocol):
    """Told how a build goes; calls come from the builder's thread."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, inside ``parent`` if that is given."""
        ...

    def step(self, phase: str, step: int) -> bool:
        """A step is done; False breaks the build off."""
        ...

    def finish(self, phase: str) -> None:
        """A phase is over."""
        ...


def _monitor(module: Module, progress: Progress) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            progress.start(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            return progress.step(phase, step)

        def phase_finish(self, phase: str) -> None:
            progress.finish(phase)

    return Monitor()


def build_plan(
    flavour: Flavour,
    model: bytes,
    shapes: Mapping[str, Sequence[api.Shape]],
    *,
    targets: Sequence[str],
    workspace: int,
    progress: Progress,
) -> bytes:
    """Build a plan from a serialised ONNX network, whose precisions are taken as they are.

    ``shapes``: of every input, those that calls may have; each gets an optimisation profile of its
    own, so that it is tuned for by itself. ``targets``: compute capabilities (``sm86``);
    TensorRT-RTX builds for all of them, ``tensorrt`` for the GPU at hand. ``workspace``: bytes of
    scratch memory that layers may use. Raises EngineError with TensorRT's own reason.
    """
    plan, reason = _build(flavour, model, shapes, targets, workspace, progress)
    if plan is None:
        # Raised here, where no frame holds a builder: one kept alive by a traceback until the
        # interpreter ends takes the process down with it.
        raise EngineError(f"{flavour.name} {flavour.version} cannot build it: {reason}")
    return plan


def _build(
    flavour: Flavour,
    model: bytes,
    shapes: Mapping[str, Sequence[api.Shape]],
    targets: Sequence[str],
    workspace: int,
    progress: Progress,
) -> tuple[bytes | None, str]:
    """The plan, or None and the reason."""
    trt = flavour.module
    messages = Messages(trt)
    builder = trt.Builder(messages.logger)
    network = _network(trt, builder)
    parser = trt.OnnxParser(network, messages.logger)
    if not parser.parse(model):
        del parser, network
        return None, _unsupported(trt, builder, model, messages) or messages.reason()
    # Not before: a network that had the recorder when it was parsed crashes when it goes
    # (TensorRT-RTX 1.7.1).
    builder.error_recorder = messages.recorder
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32
    config.max_aux_streams = 0  # one stream: a slot's scratch memory is one call's at a time
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    if flavour.rtx:
        _target(trt, cast(api.RtxIBuilderConfig, config), targets)
    for each in zip(*shapes.values(), strict=True):
        profile = builder.create_optimization_profile()
        for name, shape in zip(shapes, each, strict=True):
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    data = None if plan is None else bytes(plan)
    del plan, config, parser, network, builder  # in this order: see _unsupported
    return data, "" if data else messages.reason()


def _network(trt: Module, builder: api.Builder) -> api.INetworkDefinition:
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def _unsupported(trt: Module, builder: api.Builder, model: bytes, messages: Messages) -> str:
    """What the parser does not know in a network, every node of it; empty if it cannot say."""
    # Looking fills the network, so it has one of its own.
    network = _network(trt, builder)
    parser = trt.OnnxParser(network, messages.logger)
    parser.supports_model_v2(model)
    said = [_said(parser.get_error(i)) for i in range(parser.num_errors)]
    del parser  # before its network, which it does not keep alive
    return "; ".join(said)


def _said(error: api.ParserError) -> str:
    text = f"{error.node_operator()} {error.node_name()}: {error.desc()}"
    return " ".join(text.strip(": ").split())


def _target(trt: Module, config: api.RtxIBuilderConfig, targets: Sequence[str]) -> None:
    """TensorRT-RTX: whom to build for, and no allocation in a call, so that graphs can take it."""
    extras = cast(Any, trt)
    config.num_compute_capabilities = len(targets)
    for i, target in enumerate(targets):
        config.set_compute_capability(getattr(extras.ComputeCapability, target.upper()), i)
    config.set_flag(extras.BuilderFlag.REQUIRE_USER_ALLOCATION)
