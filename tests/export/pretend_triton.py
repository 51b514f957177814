"""A stand-in for Triton: ``triton_python_backend_utils`` over ONNX Runtime. It is no server.

It holds every request to the called model's ``config.pbtxt``: names, types, shapes, the largest
batch; and to the stages' own networks what Triton would hand them, reshapes included.
"""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

TYPES = {
    pb.TYPE_FP32: np.float32,
    pb.TYPE_FP16: np.float16,
    pb.TYPE_UINT8: np.uint8,
}


def read_config(folder: Path) -> pb.ModelConfig:
    """``config.pbtxt`` by Triton's protobuf schema; ParseError if it is none."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())


class Tensor:
    def __init__(self, name, values):
        self._name, self._values = name, np.ascontiguousarray(values)

    def name(self):
        return self._name

    def as_numpy(self):
        return self._values

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


class Response:
    def __init__(self, output_tensors, error=None):
        self.tensors, self._error = output_tensors, error

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error


class Error:
    def __init__(self, message):
        self._message = message

    def message(self):
        return self._message


def fits(shape, dims):
    return len(shape) == len(dims) and all(d in (-1, s) for s, d in zip(shape, dims, strict=True))


class Repository:
    """The models of a folder; ``module`` is what a Python model imports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = []  # model, rows
        self.module = types.ModuleType("triton_python_backend_utils")
        self.module.Tensor, self.module.TritonError = Tensor, Error
        self.module.InferenceResponse = Response
        self.module.TRITONSERVER_MEMORY_CPU = 0
        self.module.PreferredMemory = lambda kind, device: (kind, device)
        self.module.InferenceRequest = lambda **given: Request(self, **given)
        self.module.get_input_tensor_by_name = by_name("inputs")
        self.module.get_output_tensor_by_name = by_name("tensors")

    def run(self, model: str, inputs: list[Tensor], wanted: list[str]) -> Response:
        config = read_config(self.folder / model)
        batched = config.max_batch_size > 0
        (given,), (known,) = inputs, config.input
        values = given.as_numpy()
        assert given.name() == known.name
        assert values.dtype == TYPES[known.data_type]
        if batched and len(values) > config.max_batch_size:
            return Response([], Error(f"batch of {len(values)} > {config.max_batch_size}"))
        shape = values.shape[1:] if batched else values.shape
        assert fits(shape, known.dims), (model, shape, known.dims)
        self.calls.append((model, len(values)))
        session = ort.InferenceSession(
            str(self.folder / model / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        found = []
        for output, array in zip(
            config.output,
            session.run([o.name for o in config.output], {known.name: values}),
            strict=True,
        ):
            inner = array.shape[1:] if batched else array.shape
            own = output.reshape.shape if output.HasField("reshape") else output.dims
            assert array.dtype == TYPES[output.data_type]
            assert fits(inner, own), (model, output.name, inner, own)
            if output.HasField("reshape"):
                array = array.reshape(len(array), *output.dims)
            if output.name in wanted:
                found.append(Tensor(output.name, array))
        return Response(found)


class Request:
    def __init__(self, repository, *, model_name, requested_output_names, inputs, **_):
        self._repository, self._model = repository, model_name
        self._wanted, self.inputs = requested_output_names, inputs

    def exec(self):
        return self._repository.run(self._model, self.inputs, self._wanted)


class FrameRequest:
    """What a client sends to the model ``edgepose``."""

    def __init__(self, **inputs):
        self.inputs = [Tensor(name, values) for name, values in inputs.items()]


def by_name(where):
    def find(holder, name):
        return next((t for t in getattr(holder, where) if t.name() == name), None)

    return find
