"""A pretend GPU: pycuda's and TensorRT's calls on host memory, for a machine that has neither.

A mock, and no more than that: it shows that edgepose's own code around these calls is right (what
is copied where, in which order, in which thread, and what is freed), not that the calls do on a GPU
what they do here. To catch what a GPU would not forgive it is strict: work on a stream is done when
somebody waits for it, not before; a call without a current context, a copy beyond an allocation and
the use of freed memory are errors. A pretend plan is the strongly typed ONNX network, which ONNX
Runtime computes.
"""

from __future__ import annotations

import ctypes
import json
import threading
from types import SimpleNamespace

import numpy as np
import onnx

from edgepose.engine.driver import Driver, Gpu
from edgepose.verify.emulate import Emulated

ORIN = Driver("12.6", (Gpu("Orin", (8, 7), 8 << 30),))
TYPES = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}


class Gpu0:
    """One GPU: its context per thread, its streams and its memory."""

    def __init__(self, rtx=False):
        self.rtx, self.compiled = rtx, 0
        self.contexts = threading.local()
        self.streams = {}
        self.memory = {}  # address to buffer
        self.events = 0

    def check(self):
        assert getattr(self.contexts, "depth", 0) > 0, "no context is current in this thread"

    def room(self, address, size):
        """The memory at an address, if all of it is allocated."""
        buffer = self.memory.get(address)
        assert buffer is not None, "this memory is free"
        assert size <= buffer.nbytes, "this is beyond the allocation"
        return buffer

    # pycuda.driver

    def driver(self):
        gpu = self

        class Context:
            def push(self):
                gpu.contexts.depth = getattr(gpu.contexts, "depth", 0) + 1

            def pop(self):
                gpu.check()
                gpu.contexts.depth -= 1

        class Device:
            def __init__(self, index):
                assert index == 0

            def retain_primary_context(self):
                return Context()

        class Stream:
            def __init__(self):
                gpu.check()
                self.handle, self.work = 100 + len(gpu.streams), []
                gpu.streams[self.handle] = self

        class Event:
            def record(self, stream):
                gpu.check()
                self.stream, self.upto = stream, len(stream.work)

            def synchronize(self):
                gpu.check()
                gpu.events += 1
                work, self.stream.work = self.stream.work[: self.upto], []
                for task in work:
                    task()

        class Allocation:
            def __init__(self, size):
                gpu.check()
                buffer = np.full(size, 0xCD, np.uint8)
                self.address = buffer.ctypes.data
                gpu.memory[self.address] = buffer

            def __int__(self):
                return self.address

            def free(self):
                gpu.check()
                del gpu.memory[self.address]

        def memcpy_htod_async(target, source, stream):
            gpu.check()
            assert source.flags.c_contiguous
            gpu.room(int(target), source.nbytes)
            stream.work.append(
                lambda: ctypes.memmove(int(target), source.ctypes.data, source.nbytes)
            )

        def memcpy_dtoh_async(target, source, stream):
            gpu.check()
            assert target.flags.c_contiguous
            gpu.room(int(source), target.nbytes)
            stream.work.append(
                lambda: ctypes.memmove(target.ctypes.data, int(source), target.nbytes)
            )

        return SimpleNamespace(
            init=lambda: None,
            Device=Device,
            Stream=Stream,
            Event=Event,
            mem_alloc=Allocation,
            pagelocked_empty=lambda shape, dtype: np.full(shape, np.nan, dtype),
            memcpy_htod_async=memcpy_htod_async,
            memcpy_dtoh_async=memcpy_dtoh_async,
        )

    # tensorrt

    def tensorrt(self, real):
        """``real`` with a pretend Runtime; its kinds and interfaces stay."""
        gpu = self

        class Context:
            def __init__(self, engine):
                self.engine, self.batch, self.addresses, self.profile = engine, None, {}, None

            def set_optimization_profile_async(self, index, stream):
                gpu.check()
                assert stream in gpu.streams
                self.profile = index
                return True

            def set_input_shape(self, name, shape):
                assert name == self.engine.input.name
                least, _, most = self.engine.profile
                self.batch = shape[0]
                return least[0] <= shape[0] <= most[0] and tuple(shape[1:]) == tuple(most[1:])

            def infer_shapes(self):
                return [] if self.batch else [self.engine.input.name]

            def get_tensor_shape(self, name):
                return self.engine.shape(name, self.batch)

            def set_tensor_address(self, name, address):
                self.addresses[name] = address
                return True

            def execute_async_v3(self, stream):
                gpu.check()
                assert self.profile == 0
                self.engine.run_first()
                engine, batch, addresses = self.engine, self.batch, dict(self.addresses)

                def work():
                    def tensor(name, shape):
                        kind = np.dtype(engine.types[name])
                        size = int(np.prod(shape)) * kind.itemsize
                        room = gpu.room(addresses[name], size)
                        return room[:size].view(kind).reshape(shape)

                    source = engine.input.name
                    x = tensor(source, (batch, *engine.profile[0][1:])).astype(np.float32)
                    for name, value in zip(engine.outputs, engine.run(x), strict=True):
                        tensor(name, value.shape)[:] = value

                gpu.streams[stream].work.append(work)
                return True

            def is_stream_capturable(self, stream):
                assert gpu.rtx
                return bool(self.batch)

        class Engine:
            run_first = staticmethod(lambda: None)

            def __init__(self, plan):
                header, _, network = plan.partition(b"\n")
                self.profile = [tuple(s) for s in json.loads(header)]
                graph = onnx.load_from_string(network).graph
                self.input, self.outputs = graph.input[0], [o.name for o in graph.output]
                values = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output)}
                self.types = {name: TYPES[v.elem_type] for name, v in values.items()}
                self.run = Emulated(network)
                sides = self.profile[0]
                once = self.run(np.zeros(sides, np.float32))
                self.shapes = {n: v.shape for n, v in zip(self.outputs, once, strict=True)}
                self.num_io_tensors = len(values)

            def shape(self, name, batch):
                first, *rest = self.shapes[name]
                return (first * batch // self.profile[0][0], *rest)

            def get_tensor_name(self, index):
                return [*self.outputs, self.input.name][index]

            def get_tensor_mode(self, name):
                mode = real.TensorIOMode
                return mode.INPUT if name == self.input.name else mode.OUTPUT

            def get_tensor_dtype(self, name):
                return self.types[name]

            def get_tensor_shape(self, name):
                least, _, most = self.profile
                return (-1, *least[1:]) if least != most else least

            def get_tensor_profile_shape(self, name, profile):
                assert profile == 0
                return self.profile

            def create_execution_context(self, config=None):
                assert (config is None) != gpu.rtx, "a config, and only with TensorRT-RTX"
                if config is not None:
                    assert config.cache is not None
                    self.run_first = config.cache.compile
                return Context(self)

            def create_runtime_config(self):
                assert gpu.rtx
                return Config()

            def create_engine_inspector(self):
                return SimpleNamespace(get_engine_information=lambda _: '{"Layers": []}')

        class Cache:
            """Kernels: compiled by the first call, unless they were given."""

            kernels = b""

            def deserialize(self, data):
                self.kernels = bytes(data)
                return True

            def serialize(self):
                return memoryview(self.kernels)

            def compile(self):
                if not self.kernels:
                    gpu.compiled += 1
                    self.kernels = b"kernels"

        class Config:
            cache = None

            def create_runtime_cache(self):
                return Cache()

            def set_runtime_cache(self, cache):
                self.cache = cache
                return True

        class Runtime:
            def __init__(self, logger):
                gpu.check()

            def deserialize_cuda_engine(self, plan):
                if plan.startswith(b"bad"):
                    self.error_recorder.report_error(None, "the plan is of another planet")
                    return None
                return Engine(plan)

        names = ("ILogger", "IErrorRecorder", "TensorIOMode", "LayerInformationFormat")
        kept = {name: getattr(real, name) for name in names}
        return SimpleNamespace(
            __version__="10.3.0", Runtime=Runtime, nptype=lambda kind: kind, **kept
        )


def build_plan(flavour, model, ranges, **_):
    """A pretend plan, instead of one that is built."""
    (profile,) = ranges.values()
    return json.dumps(profile).encode() + b"\n" + model
