"""From a plan to calls on a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from edgepose.engine.api.building import Buffer, Shape


class LayerInformationFormat(Protocol):
    """What the inspector answers in."""

    JSON: Any


class ExecutionContextAllocationStrategy(Protocol):
    """Who gives a context its memory."""

    USER_MANAGED: Any


class TensorIOMode(Protocol):
    """Which way a tensor goes."""

    INPUT: Any


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
