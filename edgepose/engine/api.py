"""The part of TensorRT's Python API that edgepose uses, as types.

Only what exists in ``tensorrt`` 10.3 to 11.x and in ``tensorrt_rtx`` 1.7 stands here, and nothing
else can be called: the type checker holds the adapter to these classes, and a test holds the
classes to the real bindings of several versions. A class named ``RtxNAME`` is what TensorRT-RTX's
``NAME`` has beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Shape = Sequence[int]
Buffer = bytes | memoryview


class ILogger(Protocol):
    """What edgepose overrides to hear messages."""

    def log(self, severity: Any, message: str, /) -> None:
        """Take a message."""
        ...


class IErrorRecorder(Protocol):
    """What edgepose overrides to learn why something failed."""

    def num_errors(self) -> int:
        """How many there are."""
        ...

    def get_error_code(self, index: int, /) -> Any:
        """Code of one."""
        ...

    def get_error_desc(self, index: int, /) -> str:
        """Text of one."""
        ...

    def has_overflowed(self) -> bool:
        """Whether some were lost."""
        ...

    def clear(self) -> None:
        """Forget them."""
        ...

    def report_error(self, code: Any, text: str, /) -> bool:
        """Take one."""
        ...


class IProgressMonitor(Protocol):
    """What edgepose overrides to follow a build."""

    def phase_start(self, phase: str, parent: str | None, steps: int, /) -> None:
        """A phase begins."""
        ...

    def step_complete(self, phase: str, step: int, /) -> bool:
        """A step is done; False breaks the build off."""
        ...

    def phase_finish(self, phase: str, /) -> None:
        """A phase is over."""
        ...


class NetworkDefinitionCreationFlag(Protocol):
    """How a network is created."""

    STRONGLY_TYPED: Any


class MemoryPoolType(Protocol):
    """What memory a limit is for."""

    WORKSPACE: Any


class BuilderFlag(Protocol):
    """Switches of a build; those of precisions are gone in newer versions."""

    TF32: Any


class ProfilingVerbosity(Protocol):
    """How much a plan tells the inspector."""

    DETAILED: Any


class LayerInformationFormat(Protocol):
    """What the inspector answers in."""

    JSON: Any


class ExecutionContextAllocationStrategy(Protocol):
    """Who gives a context its memory."""

    USER_MANAGED: Any


class TensorIOMode(Protocol):
    """Which way a tensor goes."""

    INPUT: Any


class INetworkDefinition(Protocol):
    """A network while it is built; only handed on."""


class IOptimizationProfile(Protocol):
    """The range of shapes that an engine is built for."""

    def set_shape(self, name: str, least: Shape, best: Shape, most: Shape, /) -> Any:
        """Set the range of one input."""
        ...


class IBuilderConfig(Protocol):
    """The settings of a build."""

    progress_monitor: Any
    profiling_verbosity: Any
    max_aux_streams: int

    def set_memory_pool_limit(self, pool: Any, size: int, /) -> None:
        """Bound a pool, bytes."""
        ...

    def clear_flag(self, flag: Any, /) -> None:
        """Switch something off."""
        ...

    def add_optimization_profile(self, profile: IOptimizationProfile, /) -> int:
        """Add a range of shapes."""
        ...


class Builder(Protocol):
    """Makes plans."""

    error_recorder: Any

    def create_network(self, flags: int, /) -> INetworkDefinition:
        """An empty network."""
        ...

    def create_builder_config(self) -> IBuilderConfig:
        """Default settings."""
        ...

    def create_optimization_profile(self) -> IOptimizationProfile:
        """An empty profile."""
        ...

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig, /
    ) -> memoryview | None:
        """The plan; None after an error."""
        ...


class ParserError(Protocol):
    """Why a network was not understood."""

    def desc(self) -> str:
        """The reason."""
        ...

    def node_name(self) -> str:
        """The node at fault."""
        ...

    def node_operator(self) -> str:
        """Its operator."""
        ...


class OnnxParser(Protocol):
    """Reads ONNX."""

    num_errors: int

    def supports_model_v2(self, model: Buffer, /) -> bool:
        """Whether every operator is supported."""
        ...

    def parse(self, model: Buffer, /) -> bool:
        """Read a network; False after an error."""
        ...

    def get_error(self, index: int, /) -> ParserError:
        """One of the errors."""
        ...


class EngineInspector(Protocol):
    """Tells what an engine consists of."""

    def get_engine_information(self, form: Any, /) -> str:
        """All layers."""
        ...


class IExecutionContext(Protocol):
    """An engine with the memory for one call at a time."""

    def set_optimization_profile_async(self, index: int, stream: int, /) -> bool:
        """Choose the range of shapes."""
        ...

    def set_input_shape(self, name: str, shape: Shape, /) -> bool:
        """Say an input's shape."""
        ...

    def infer_shapes(self) -> list[str]:
        """Names of the inputs that are still open; empty if all is known."""
        ...

    def get_tensor_shape(self, name: str, /) -> Shape:
        """A tensor's shape in the next call."""
        ...

    def set_device_memory(self, address: int, size: int, /) -> None:
        """Give the scratch memory, aligned to 256 bytes."""
        ...

    def set_tensor_address(self, name: str, address: int, /) -> bool:
        """Say where a tensor lies, a device address."""
        ...

    def execute_async_v3(self, stream: int, /) -> bool:
        """Queue a call on a CUDA stream."""
        ...


class ICudaEngine(Protocol):
    """A plan, loaded."""

    num_io_tensors: int
    num_optimization_profiles: int

    def get_tensor_name(self, index: int, /) -> str:
        """Name of an input or output."""
        ...

    def get_tensor_mode(self, name: str, /) -> Any:
        """A :class:`TensorIOMode`."""
        ...

    def get_tensor_dtype(self, name: str, /) -> Any:
        """A DataType."""
        ...

    def get_tensor_shape(self, name: str, /) -> Shape:
        """A tensor's shape, -1 where it is open."""
        ...

    def get_tensor_profile_shape(self, name: str, profile: int, /) -> Sequence[Shape]:
        """Least, best and largest shape of an input."""
        ...

    def get_device_memory_size_for_profile_v2(self, profile: int, /) -> int:
        """Bytes of scratch memory that a context needs."""
        ...

    def create_execution_context(self, how: Any, /) -> IExecutionContext | None:
        """A context; None if memory is short. ``how``: who gives it memory, a strategy, or with
        TensorRT-RTX a configuration."""
        ...

    def create_engine_inspector(self) -> EngineInspector:
        """An inspector."""
        ...


class Runtime(Protocol):
    """Loads plans."""

    error_recorder: Any

    def deserialize_cuda_engine(self, plan: Buffer, /) -> ICudaEngine | None:
        """Load a plan; None after an error."""
        ...


class RtxDynamicShapesKernelSpecializationStrategy(Protocol):
    """When kernels for a shape are compiled."""

    EAGER: Any


class RtxBuilderFlag(Protocol):
    """Switches that only TensorRT-RTX has."""

    REQUIRE_USER_ALLOCATION: Any


class RtxIBuilderConfig(Protocol):
    """Builds for GPUs that need not be there."""

    num_compute_capabilities: int

    def set_compute_capability(self, capability: Any, index: int, /) -> bool:
        """Set one of the compute capabilities."""
        ...

    def set_flag(self, flag: Any, /) -> None:
        """Switch something on."""
        ...


class RtxIRuntimeCache(Protocol):
    """Kernels that were compiled on this GPU."""

    def serialize(self) -> memoryview:
        """All of them."""
        ...

    def deserialize(self, data: Buffer, /) -> bool:
        """Take over what was kept."""
        ...


class RtxIRuntimeConfig(Protocol):
    """How a context is made."""

    dynamic_shapes_kernel_specialization_strategy: Any

    def set_execution_context_allocation_strategy(self, strategy: Any, /) -> None:
        """Say who gives it memory."""
        ...

    def create_runtime_cache(self) -> RtxIRuntimeCache:
        """An empty cache."""
        ...

    def set_runtime_cache(self, cache: RtxIRuntimeCache, /) -> bool:
        """Use a cache."""
        ...


class RtxICudaEngine(Protocol):
    """A plan of TensorRT-RTX, loaded."""

    def create_runtime_config(self) -> RtxIRuntimeConfig:
        """How a context is to be made."""
        ...


class RtxIExecutionContext(Protocol):
    """A context of TensorRT-RTX."""

    def is_stream_capturable(self, stream: int, /) -> bool:
        """Whether the next call can go into a CUDA graph."""
        ...
