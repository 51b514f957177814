"""A plan, loaded: a model of the device, whose calls are execution contexts.

Knows device addresses and streams as integers only. Contexts get their scratch memory from the
caller (one for all networks that run in order), keep one shape each, and use no streams of their
own, so that every call can go into a CUDA graph.
"""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgepose.cuda.device import Stream
from edgepose.cuda.driver import driver
from edgepose.cuda.network import Tensor
from edgepose.engine import api
from edgepose.engine.flavour import Flavour
from edgepose.engine.messages import Messages
from edgepose.errors import EngineError
from edgepose.files import write_whole


class _Own:
    """What TensorRT gave for one plan, to be given back in the right order."""

    def __init__(self, flavour: Flavour, kernels: Path | None) -> None:
        self.messages = Messages(flavour.module)
        self.calls: weakref.WeakSet[TrtCall] = weakref.WeakSet()
        self.runtime: api.Runtime | None = None
        self.engine: api.ICudaEngine | None = None
        self.how: Any = None
        self.cache: api.RtxIRuntimeCache | None = None
        self._path, self._before = kernels, b""

    def load(self, flavour: Flavour, plan: bytes) -> api.ICudaEngine:
        self.runtime = flavour.module.Runtime(self.messages.logger)
        self.runtime.error_recorder = self.messages.recorder
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise EngineError(
                f"{flavour.name} {flavour.version} refuses the engine: {self.messages.reason()}; "
                "build it again with: edgepose-build --rebuild"
            )
        self.how = self._strategy(flavour, self.engine)
        return self.engine

    def _strategy(self, flavour: Flavour, engine: api.ICudaEngine) -> Any:
        """How contexts are made; TensorRT-RTX compiles kernels for a shape when it first runs."""
        trt = flavour.module
        managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not flavour.rtx:
            return managed
        config = cast(api.RtxICudaEngine, engine).create_runtime_config()
        config.set_execution_context_allocation_strategy(managed)
        # At once, in the warm-up: else a fallback kernel would be captured, and kept for ever.
        eager = cast(Any, trt).DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        self.cache = config.create_runtime_cache()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._before = self._path.read_bytes()
        if self._before and not self.cache.deserialize(self._before):
            self.messages.clear()  # of another driver, say: they are compiled again, and kept
        config.set_runtime_cache(self.cache)
        return config

    def close(self) -> None:
        """Keep the kernels of all batches that ran, if they are new, and give everything back."""
        if self.cache is not None and self._path is not None:
            kernels = bytes(self.cache.serialize())
            if kernels != self._before:
                with contextlib.suppress(OSError):
                    write_whole(self._path, kernels)
                self._before = kernels
        # In this order: each needs the one after it.
        for call in list(self.calls):
            call.close()
        self.how = self.cache = self.engine = self.runtime = None


class TrtEngine:
    """One plan. The first dimension of its input is the batch."""

    def __init__(
        self, flavour: Flavour, plan: bytes, stream: Stream, kernels: Path | None = None
    ) -> None:
        """Load a plan. ``stream``: where contexts are set up. ``kernels``: the file where
        TensorRT-RTX's are kept from one start to the next, for this GPU and driver.

        Raises EngineError if there is no GPU or TensorRT refuses the plan.
        """
        found = driver()
        if not found.gpus:
            raise EngineError(
                f"an engine needs an NVIDIA GPU: {found.problem}; use --backend onnxruntime"
            )
        self.flavour, self._stream = flavour, stream
        self._own = _Own(flavour, kernels)
        self.messages = self._own.messages
        try:
            self._engine = self._own.load(flavour, plan)
            self._describe()
        except BaseException:
            # Kept alive by the exception's traceback, they would crash the interpreter's exit.
            self.__dict__.pop("_engine", None)
            self._own.close()
            raise
        # Also when the interpreter ends, while CUDA is still there.
        self._closed = weakref.finalize(self, self._own.close)

    def _describe(self) -> None:
        """Find out inputs and outputs, and the batches that are taken."""
        trt, engine = self.flavour.module, self._engine
        inputs, outputs = list[Tensor](), list[Tensor]()
        for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            # The first dimension is the batch; the others are known.
            tensor = Tensor(name, dtype, tuple(engine.get_tensor_shape(name))[1:])
            mode = engine.get_tensor_mode(name)
            (inputs if mode == trt.TensorIOMode.INPUT else outputs).append(tensor)
        if len(inputs) != 1 or any(-1 in t.shape for t in (*inputs, *outputs)):
            raise EngineError(
                f"the engine has {len(inputs)} inputs, or shapes that are open beyond the batch; "
                "expected is one input; build it again"
            )
        (self.input,), self.outputs = inputs, tuple(outputs)
        rows, *_ = engine.get_tensor_shape(self.input.name)
        self.dynamic, profiles = rows == -1, range(engine.num_optimization_profiles)
        # A profile for each batch, in this order; see engine.adapter.build_plan.
        shapes = [engine.get_tensor_profile_shape(self.input.name, i)[1] for i in profiles]
        self.batches = tuple(shape[0] for shape in shapes) if self.dynamic else (rows,)

    def scratch(self) -> int:
        """Bytes of scratch memory that the largest call needs."""
        engine = self._engine
        profiles = range(engine.num_optimization_profiles)
        return max(engine.get_device_memory_size_for_profile_v2(i) for i in profiles)

    def network(self, scratch: int) -> TrtCall:
        """A new call, with scratch memory at that address; EngineError if memory is short."""
        self.messages.clear()
        context = self._engine.create_execution_context(self._own.how)
        if context is None:
            raise EngineError(
                f"there is no room on the GPU for the engine: {self.messages.reason()}; close "
                "other programs or build with a smaller --batch or --workspace"
            )
        try:
            context.set_device_memory(scratch, self.scratch())
            call = TrtCall(self, context, self._stream)
            self._own.calls.add(call)
            return call
        finally:
            del context  # see __init__

    def layers(self) -> Any:
        """What the engine consists of, as TensorRT's inspector tells it: parsed JSON."""
        inspector = self._engine.create_engine_inspector()
        form = self.flavour.module.LayerInformationFormat.JSON
        return json.loads(inspector.get_engine_information(form))

    def close(self) -> None:
        """Give the GPU's memory back; no call may be running. May be called again."""
        self.__dict__.pop("_engine", None)
        self._closed()


class TrtCall:
    """One execution context; see :class:`~edgepose.cuda.network.DeviceNetwork`."""

    def __init__(self, engine: TrtEngine, context: api.IExecutionContext, stream: Stream) -> None:
        self._engine, self._stream, self._rows = engine, stream, 0
        self._context: api.IExecutionContext | None = context

    def _open(self) -> api.IExecutionContext:
        if self._context is None:
            raise EngineError("this call is closed; load the network again")
        self._engine.messages.clear()
        return self._context

    def bind(self, rows: int, addresses: Mapping[str, int]) -> None:
        """Say how many rows a call has and where every tensor lies; EngineError if refused."""
        context, engine, source = self._open(), self._engine, self._engine.input
        if rows != self._rows:  # another shape makes the next call work it out anew
            fits = rows in engine.batches and self._choose(context, engine.batches.index(rows))
            if fits and engine.dynamic:
                fits = context.set_input_shape(source.name, (rows, *source.shape))
            if not fits or context.infer_shapes():
                raise EngineError(
                    f"the engine takes no batch of {rows}, but of "
                    f"{', '.join(map(str, engine.batches))}: {engine.messages.reason()}; build it "
                    "with another --batch"
                )
            self._rows = rows
        for tensor in (source, *engine.outputs):
            if not context.set_tensor_address(tensor.name, addresses[tensor.name]):
                raise EngineError(
                    f"the engine refuses the memory of {tensor.name}: {engine.messages.reason()}; "
                    "restart the program"
                )

    def _choose(self, context: api.IExecutionContext, profile: int) -> bool:
        """Take the profile that is tuned for the batch; whether TensorRT agrees."""
        agreed = context.set_optimization_profile_async(profile, self._stream.handle)
        self._stream.synchronize()  # it may copy
        return agreed

    def enqueue(self, stream: Stream) -> None:
        """Queue a call on a stream; EngineError with TensorRT's reason."""
        if not self._open().execute_async_v3(stream.handle):
            reason = self._engine.messages.reason()
            raise EngineError(f"the engine failed: {reason}; restart the program")

    def capturable(self, stream: Stream) -> bool:
        """Whether the bound call can go into a CUDA graph."""
        context = self._open()
        if not self._engine.flavour.rtx:
            return True
        return cast(api.RtxIExecutionContext, context).is_stream_capturable(stream.handle)

    def close(self) -> None:
        """Give the context back; no call may be running."""
        self._context = None
