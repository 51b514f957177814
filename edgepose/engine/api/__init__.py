"""The part of TensorRT's Python API that edgepose uses, as types.

Only what exists in ``tensorrt`` 10.3 to 11.x and in ``tensorrt_rtx`` 1.7 stands here, and nothing
else can be called: the type checker holds the adapter to these classes, and a test holds the
classes to the real bindings of several versions. A class named ``RtxNAME`` is what TensorRT-RTX's
``NAME`` has beyond that.
"""

from __future__ import annotations

from edgepose.engine.api.building import (
    Buffer,
    Builder,
    BuilderFlag,
    IBuilderConfig,
    INetworkDefinition,
    IOptimizationProfile,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ParserError,
    ProfilingVerbosity,
    RtxBuilderFlag,
    RtxIBuilderConfig,
    Shape,
)
from edgepose.engine.api.hooks import (
    IErrorRecorder,
    ILogger,
    IProgressMonitor,
)
from edgepose.engine.api.running import (
    EngineInspector,
    ExecutionContextAllocationStrategy,
    ICudaEngine,
    IExecutionContext,
    LayerInformationFormat,
    RtxDynamicShapesKernelSpecializationStrategy,
    RtxICudaEngine,
    RtxIExecutionContext,
    RtxIRuntimeCache,
    RtxIRuntimeConfig,
    Runtime,
    TensorIOMode,
)

__all__ = [
    "Buffer",
    "Builder",
    "BuilderFlag",
    "EngineInspector",
    "ExecutionContextAllocationStrategy",
    "IBuilderConfig",
    "ICudaEngine",
    "IErrorRecorder",
    "IExecutionContext",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "ProfilingVerbosity",
    "RtxBuilderFlag",
    "RtxDynamicShapesKernelSpecializationStrategy",
    "RtxIBuilderConfig",
    "RtxICudaEngine",
    "RtxIExecutionContext",
    "RtxIRuntimeCache",
    "RtxIRuntimeConfig",
    "Runtime",
    "Shape",
    "TensorIOMode",
]
