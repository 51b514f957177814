"""One face over ``tensorrt`` 10.3 to 11.x and ``tensorrt_rtx`` 1.7: find them and build plans.

All that touches their API is here and in :mod:`edgepose.engine.runtime`, written against
:mod:`edgepose.engine.api`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, cast

from edgepose.engine import api
from edgepose.errors import EngineError

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # name, module
RTX = "tensorrt-rtx"
CHOICE = "EDGEPOSE_TENSORRT"  # environment variable that settles which of two is meant


class Module(Protocol):
    """``tensorrt`` or ``tensorrt_rtx``."""

    __version__: str
    NetworkDefinitionCreationFlag: type[api.NetworkDefinitionCreationFlag]
    MemoryPoolType: type[api.MemoryPoolType]
    BuilderFlag: type[api.BuilderFlag]
    ProfilingVerbosity: type[api.ProfilingVerbosity]
    LayerInformationFormat: type[api.LayerInformationFormat]
    ExecutionContextAllocationStrategy: type[api.ExecutionContextAllocationStrategy]
    TensorIOMode: type[api.TensorIOMode]
    ILogger: Any
    IErrorRecorder: Any
    IProgressMonitor: Any
    Builder: Callable[[Any], api.Builder]
    OnnxParser: Callable[[api.INetworkDefinition, Any], api.OnnxParser]
    Runtime: Callable[[Any], api.Runtime]
    nptype: Callable[[Any], Any]


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


@dataclass(frozen=True)
class Flavour:
    """An imported TensorRT: its name as users type it, and its exact version."""

    name: str
    version: str
    module: Module

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT for RTX, which builds without a GPU."""
        return self.name == RTX

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities it can build for with no such GPU present: ``sm86``, …"""
        if not self.rtx:
            return ()
        members: Mapping[str, Any] = cast(Any, self.module).ComputeCapability.__members__
        return tuple(name.lower() for name in members if name.startswith("SM"))


def installed() -> list[str]:
    """Names of the flavours that are installed; imports none of them."""
    return [name for name, module in FLAVOURS.items() if importlib.util.find_spec(module)]


def open_flavour(name: str = "auto") -> Flavour:
    """Import a flavour; "auto" is the only one installed, or what EDGEPOSE_TENSORRT says.

    Raises EngineError if there is none, or two and no choice, or its import fails.
    """
    wanted = os.environ.get(CHOICE) or "auto" if name == "auto" else name
    if wanted != "auto" and wanted not in FLAVOURS:
        raise EngineError(
            f"there is no TensorRT flavour {wanted!r}; choose auto, {' or '.join(FLAVOURS)}"
        )
    found = installed()
    if wanted == "auto":
        if len(found) > 1:
            raise EngineError(
                f"both {' and '.join(found)} are installed; say which with --flavour or in the "
                f"environment variable {CHOICE}"
            )
        if not found:
            raise EngineError(
                "TensorRT is not installed; on a Jetson it comes with JetPack (apt install "
                "python3-libnvinfer), elsewhere: pip install tensorrt (for the GPU at hand) or "
                "tensorrt-rtx (builds without a GPU)"
            )
        wanted = found[0]
    if wanted not in found:
        raise EngineError(f"{wanted} is not installed; install it with: pip install {wanted}")
    try:
        module = importlib.import_module(FLAVOURS[wanted])
        return Flavour(wanted, str(module.__version__), cast(Module, _checked(module)))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise EngineError(
            f"{wanted} is installed but cannot be imported ({reason}); install it again, its "
            "libraries and its Python part in the same version"
        ) from error


def _checked(module: ModuleType) -> ModuleType:
    """The module, if it has what a whole TensorRT has: a lone folder of that name imports too."""
    for name in ("Builder", "OnnxParser", "Runtime"):
        getattr(module, name)
    return module


class Messages:
    """Errors that TensorRT reported since the last :meth:`clear`, first one first."""

    def __init__(self, module: Module) -> None:
        self.errors: list[str] = []
        self.logger = _logger(module, self.errors)
        self.recorder = _recorder(module, self.errors)

    def clear(self) -> None:
        """Forget them: what comes next is about another call."""
        self.errors.clear()

    def reason(self) -> str:
        """The first error, on one line; it is the cause of those after it."""
        text = " ".join(self.errors[0].split()) if self.errors else "it gave no reason"
        return text if len(text) <= 300 else f"{text[:300]}…"


def _logger(module: Module, errors: list[str]) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("INTERNAL_ERROR", "ERROR"):
                errors.append(message)

    return Logger()


def _recorder(module: Module, errors: list[str]) -> Any:
    class Recorder(module.IErrorRecorder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.IErrorRecorder.__init__(self)
            self.entries: list[tuple[Any, str]] = []

        def num_errors(self) -> int:
            return len(self.entries)

        def get_error_code(self, index: int) -> Any:
            return self.entries[index][0]

        def get_error_desc(self, index: int) -> str:
            return self.entries[index][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.entries.clear()

        def report_error(self, code: Any, text: str) -> bool:
            self.entries.append((code, text))
            errors.append(text)
            return True

    return Recorder()


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
