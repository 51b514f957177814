"""What a strongly typed network gives, on the CPU: float32 arithmetic, each result rounded.

ONNX Runtime has no float16 or bfloat16 convolution on the CPU; given such a network it computes in
float32 and leaves roundings out between layers, so its drift would be too small. Here each tensor
that the network holds in half precision is really rounded to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx


class Emulated:
    """A network of :func:`~edgepose.engine.convert.strongly_typed`, run by ONNX Runtime."""

    def __init__(self, network: bytes) -> None:
        """Load a serialised network."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        # The optimiser would take the roundings out.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = ort.InferenceSession(
            _rounding(network), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch (n, 3, h, w) float32."""
        return tuple(self._session.run(None, {self._input: batch}))


def _rounding(network: bytes) -> bytes:
    """The network in float32, with a cast to half precision and back for each half tensor."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(network))
    graph = model.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info)}
    for tensor in graph.initializer:
        if tensor.data_type in halves:
            value = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    nodes: list[onnx.NodeProto] = []

    def rounded(source: str, name: str, kind: int) -> None:
        nodes.append(helper.make_node("Cast", [source], [f"{name}.half"], to=kind))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))

    renamed = {}
    for value in graph.input:
        if kinds[value.name] in halves:
            renamed[value.name] = f"{value.name}.rounded"
            rounded(value.name, renamed[value.name], kinds[value.name])
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        if node.op_type == "Cast" and node.attribute[0].i in halves:
            rounded(node.input[0], node.output[0], node.attribute[0].i)
            continue
        nodes.append(node)
        for i, name in enumerate(node.output):
            if kinds.get(name) in halves:
                node.output[i] = f"{name}.exact"
                rounded(node.output[i], name, kinds[name])
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    data: bytes = model.SerializeToString()
    return data
