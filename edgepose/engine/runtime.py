"""A plan, loaded: shapes, addresses and calls. Knows device addresses and streams as integers only.

Nothing here may be reached on a machine without a GPU: :func:`load` counts them first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from edgepose.engine import api
from edgepose.engine.adapter import Flavour, Messages
from edgepose.engine.driver import driver
from edgepose.errors import EngineError


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, NumPy type, and its largest shape."""

    name: str
    dtype: np.dtype[Any]
    most: tuple[int, ...]
    is_input: bool

    @property
    def bytes(self) -> int:
        """Room for the largest shape."""
        return int(np.prod(self.most)) * self.dtype.itemsize


class TrtEngine:
    """One plan with one execution context: one caller at a time.

    The first tensor is the input, whose first dimension is the batch.
    """

    def __init__(self, flavour: Flavour, plan: bytes, kernels: bytes = b"") -> None:
        """Load a plan. ``kernels``: what :meth:`kernels` gave before (TensorRT-RTX).

        Raises EngineError if there is no GPU or TensorRT refuses the plan.
        """
        found = driver()
        if not found.gpus:
            raise EngineError(
                f"an engine needs an NVIDIA GPU: {found.problem}; use --backend onnxruntime"
            )
        self._flavour, self._messages = flavour, Messages(flavour.module)
        try:
            self._load(plan, kernels)
        except BaseException:
            # Kept alive by the exception's traceback, they would crash the interpreter's exit.
            self.close()
            raise

    def _load(self, plan: bytes, kernels: bytes) -> None:
        flavour, messages = self._flavour, self._messages
        self._runtime = flavour.module.Runtime(messages.logger)
        self._runtime.error_recorder = messages.recorder
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(
                f"{flavour.name} {flavour.version} refuses the engine: {messages.reason()}; build "
                "it again with: edgepose-build --rebuild"
            )
        self._engine = engine
        del engine
        self._kernels: api.RtxIRuntimeCache | None = None
        context = self._engine.create_execution_context(*self._config(kernels))
        if context is None:
            raise EngineError(
                f"there is no room on the GPU for the engine: {messages.reason()}; close other "
                "programs or build with a smaller --batch or --workspace"
            )
        self._context = context
        del context
        self.tensors = self._tensors()

    def _config(self, kernels: bytes) -> Sequence[api.RtxIRuntimeConfig]:
        """TensorRT-RTX compiles kernels when a context first needs them; kept, it is quick."""
        if not self._flavour.rtx:
            return ()
        config = cast(api.RtxICudaEngine, self._engine).create_runtime_config()
        self._kernels = config.create_runtime_cache()
        if kernels:
            self._kernels.deserialize(kernels)
        config.set_runtime_cache(self._kernels)
        return (config,)

    def _tensors(self) -> list[Tensor]:
        trt, engine = self._flavour.module, self._engine
        inputs, outputs = [], []
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                shape = engine.get_tensor_shape(name)
                if -1 in tuple(shape):
                    shape = engine.get_tensor_profile_shape(name, 0)[2]
                inputs.append(Tensor(name, dtype, tuple(shape), True))
            else:
                outputs.append((name, dtype))
        if len(inputs) != 1:
            raise EngineError(f"the engine has {len(inputs)} inputs, expected is 1; build it again")
        self.least = self._least(inputs[0].name)
        self.set_batch(inputs[0], inputs[0].most[0])
        context = self._context
        most = [Tensor(n, d, tuple(context.get_tensor_shape(n)), False) for n, d in outputs]
        return [*inputs, *most]

    def _least(self, name: str) -> int:
        """Smallest batch that the engine takes."""
        shape = tuple(self._engine.get_tensor_shape(name))
        if -1 not in shape:
            return shape[0]
        least, _, _ = self._engine.get_tensor_profile_shape(name, 0)
        return least[0]

    def set_batch(self, tensor: Tensor, rows: int) -> None:
        """Say how many rows of the input the next call has."""
        shape = (rows, *tensor.most[1:])
        if not self._context.set_input_shape(tensor.name, shape) or self._context.infer_shapes():
            raise EngineError(f"the engine takes no batch of {rows}: {self._messages.reason()}")

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """A tensor's shape in the next call."""
        return tuple(self._context.get_tensor_shape(tensor.name))

    def use_stream(self, stream: int) -> None:
        """Choose the range of shapes, on a stream; once, before the first call."""
        self._context.set_optimization_profile_async(0, stream)

    def set_address(self, tensor: Tensor, address: int) -> None:
        """Say where a tensor lies on the device."""
        self._context.set_tensor_address(tensor.name, address)

    def capturable(self, stream: int) -> bool:
        """Whether the next call can be captured in a CUDA graph."""
        if not self._flavour.rtx:
            return True
        return cast(api.RtxIExecutionContext, self._context).is_stream_capturable(stream)

    def enqueue(self, stream: int) -> None:
        """Queue a call on a stream; EngineError with TensorRT's reason."""
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"the engine failed: {self._messages.reason()}; restart the program")

    def close(self) -> None:
        """Give the GPU's memory back; nothing can be called afterwards."""
        # In this order: each needs the one after it.
        for name in ("_context", "_kernels", "_engine", "_runtime"):
            self.__dict__.pop(name, None)

    def kernels(self) -> bytes:
        """Kernels compiled so far, to be given to the next load; empty but for TensorRT-RTX."""
        return bytes(self._kernels.serialize()) if self._kernels is not None else b""

    def layers(self) -> Any:
        """What the engine consists of, as TensorRT's inspector tells it: parsed JSON."""
        inspector = self._engine.create_engine_inspector()
        form = self._flavour.module.LayerInformationFormat.JSON
        return json.loads(inspector.get_engine_information(form))
