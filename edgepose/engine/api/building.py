"""From a network to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Shape = Sequence[int]
Buffer = bytes | memoryview


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
