"""A pretend TensorRT: its runtime's calls, on the device that is none.

A mock, and no more than that: it shows that edgepose's own code around these calls is right (what
is bound where, in which order, and what is given back), not that the calls do on a GPU what they do
here. Memory, streams and order are HostDevice's, which is strict. A pretend plan is the strongly
typed ONNX network, which ONNX Runtime computes.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnx

from edgepose.cuda.driver import Driver, Gpu
from edgepose.cuda.host import HostDevice
from edgepose.verify.emulate import Emulated

ORIN = Driver("12.6", (Gpu("Orin", (8, 7), 8 << 30),))
TYPES = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}
SCRATCH = 1000  # bytes


class Gpu0:
    """One GPU: its device, and what TensorRT-RTX compiled."""

    def __init__(self, rtx=False):
        self.rtx, self.compiled = rtx, 0
        self.device = HostDevice()
        self.contexts = 0  # open ones
        self.shapes = []  # those that were set: profile and rows
        self.stale = False  # whether kept kernels are refused
        self.fail = ""  # why calls fail

    # tensorrt

    def tensorrt(self, real):
        """``real`` with a pretend Runtime; its kinds and interfaces stay."""
        gpu = self

        class Context:
            def __init__(self, engine):
                self.engine, self.batch, self.addresses = engine, None, {}
                self.profile = self.scratch = None
                gpu.contexts += 1

            def __del__(self):
                gpu.contexts -= 1

            def set_device_memory(self, address, size):
                assert size == SCRATCH
                assert address % 256 == 0
                gpu.device.memory.check(address, size)
                self.scratch = address

            def set_optimization_profile_async(self, index, stream):
                gpu.device.run(stream, lambda: None)
                self.profile, self.batch = index, None
                return 0 <= index < len(self.engine.profiles)

            def set_input_shape(self, name, shape):
                assert name == self.engine.input.name
                gpu.shapes.append((self.profile, shape[0]))
                self.batch = shape[0]
                return tuple(shape) == self.engine.profiles[self.profile]

            def infer_shapes(self):
                return [] if self.batch or not self.engine.open else [self.engine.input.name]

            def set_tensor_address(self, name, address):
                self.addresses[name] = address
                return True

            def execute_async_v3(self, stream):
                if gpu.fail:
                    self.engine.recorder.report_error(None, gpu.fail)
                    return False
                assert self.profile is not None
                self.engine.run_first(self.batch)
                engine, addresses, scratch = self.engine, dict(self.addresses), self.scratch
                batch = self.batch or engine.profiles[0][0]

                def work():
                    gpu.device.memory.check(scratch, SCRATCH)

                    def tensor(name, shape):
                        kind = np.dtype(engine.types[name])
                        return gpu.device.memory.view(addresses[name], shape, kind)

                    source = engine.input.name
                    x = tensor(source, (batch, *engine.profiles[0][1:])).astype(np.float32)
                    for name, value in zip(engine.outputs, engine.run(x), strict=True):
                        tensor(name, value.shape)[:] = value

                gpu.device.run(stream, work)
                return True

            def is_stream_capturable(self, stream):
                assert gpu.rtx
                return bool(self.batch)

        class Engine:
            run_first = staticmethod(lambda batch: None)

            def __init__(self, plan, recorder):
                self.recorder = recorder
                header, _, network = plan.partition(b"\n")
                self.profiles = [tuple(s) for s in json.loads(header)]
                self.num_optimization_profiles = len(self.profiles)
                graph = onnx.load_from_string(network).graph
                self.input, self.outputs = graph.input[0], [o.name for o in graph.output]
                values = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output)}
                self.types = {name: TYPES[v.elem_type] for name, v in values.items()}
                self.run = Emulated(network)
                sides = self.profiles[0]
                once = self.run(np.zeros(sides, np.float32))
                self.shapes = {n: v.shape for n, v in zip(self.outputs, once, strict=True)}
                self.num_io_tensors = len(values)
                self.open = len(self.profiles) > 1

            def get_tensor_name(self, index):
                return [*self.outputs, self.input.name][index]

            def get_tensor_mode(self, name):
                mode = real.TensorIOMode
                return mode.INPUT if name == self.input.name else mode.OUTPUT

            def get_tensor_dtype(self, name):
                return self.types[name]

            def get_tensor_shape(self, name):
                shape = self.profiles[0] if name == self.input.name else self.shapes[name]
                return (-1, *shape[1:]) if self.open else shape

            def get_device_memory_size_for_profile_v2(self, profile):
                return SCRATCH - len(self.profiles) + 1 + profile

            def get_tensor_profile_shape(self, name, profile):
                return [self.profiles[profile]] * 3

            def create_execution_context(self, how):
                if gpu.rtx:
                    assert how.strategy == how.dynamic_shapes_kernel_specialization_strategy == 1
                    self.run_first = how.cache.compile
                else:
                    assert how == 1
                return Context(self)

            def create_runtime_config(self):
                assert gpu.rtx
                return Config()

            def create_engine_inspector(self):
                return SimpleNamespace(get_engine_information=lambda _: '{"Layers": []}')

        class Cache:
            """Kernels: for every batch compiled by its first call, unless they were given."""

            def __init__(self):
                self.batches = set()

            def deserialize(self, data):
                if gpu.stale:
                    return False
                self.batches = set(json.loads(bytes(data)))
                return True

            def serialize(self):
                return memoryview(json.dumps(sorted(self.batches)).encode())

            def compile(self, batch):
                gpu.compiled += batch not in self.batches
                self.batches.add(batch)

        class Config:
            cache = strategy = dynamic_shapes_kernel_specialization_strategy = None

            def set_execution_context_allocation_strategy(self, strategy):
                self.strategy = strategy

            def create_runtime_cache(self):
                return Cache()

            def set_runtime_cache(self, cache):
                self.cache = cache
                return True

        class Runtime:
            def __init__(self, logger):
                self.error_recorder = None

            def deserialize_cuda_engine(self, plan):
                if plan.startswith(b"bad"):
                    self.error_recorder.report_error(None, "the plan is of another planet")
                    return None
                return Engine(plan, self.error_recorder)

        names = ("ILogger", "IErrorRecorder", "TensorIOMode", "LayerInformationFormat")
        kept = {name: getattr(real, name) for name in names}
        return SimpleNamespace(
            __version__="10.3.0",
            Runtime=Runtime,
            nptype=lambda kind: kind,
            ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=1),
            DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER=1),
            **kept,
        )


def build_plan(flavour, model, shapes, **_):
    """A pretend plan, instead of one that is built."""
    (profiles,) = shapes.values()
    return json.dumps(profiles).encode() + b"\n" + model
