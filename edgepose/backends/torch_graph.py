"""An ONNX network as a sequence of torch calls, for a fixed batch.

Whatever follows from the weights and from shapes alone is worked out beforehand on the CPU, so what
is left are the kernels: a call never waits for the device, and a CUDA graph can take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgepose.backends.torch_operator import DTYPES, Operator
from edgepose.backends.torch_operators import OPERATORS, PARAMETERS
from edgepose.errors import BackendError

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class _Step:
    run: Operator
    inputs: tuple[str, ...]
    output: str
    drop: tuple[str, ...]  # what nothing after it reads


class TorchGraph:
    """A network's weights on a torch device."""

    def __init__(self, network: bytes, device: torch.device) -> None:
        """Read a serialised ONNX network; BackendError if an operator is not known."""
        import onnx
        from onnx import numpy_helper

        model = onnx.load_from_string(network)
        graph, self._device = model.graph, device
        unknown = sorted({n.op_type for n in graph.node} - {*OPERATORS, "Shape", "Constant"})
        if unknown:
            raise BackendError(f"backend torch does not know the operators {', '.join(unknown)}")
        self.input = graph.input[0].name
        self.outputs = [o.name for o in graph.output]
        self.dtype = DTYPES[graph.input[0].type.tensor_type.elem_type]
        self._known: dict[str, Tensor] = {
            t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer
        }
        self._nodes = []
        self._placed: dict[str, Tensor] = {}
        for node in graph.node:
            if node.op_type == "Constant":
                value = numpy_helper.to_array(node.attribute[0].t)
                self._known[node.output[0]] = torch.from_numpy(value.copy())
            elif node.op_type != "Shape" and all(not n or n in self._known for n in node.input):
                self._known[node.output[0]] = _evaluate(node, self._known)
            else:
                self._nodes.append(node)

    def call(self, shape: Sequence[int]) -> TorchCall:
        """The network for an input of this shape; it runs once, on zeros."""
        import onnx

        known = dict(self._known)
        x = torch.zeros(tuple(shape), dtype=self.dtype, device=self._device)
        values, steps = {self.input: x}, []
        for node in self._nodes:
            output = node.output[0]
            if node.op_type == "Shape":
                known[output] = torch.tensor(_value(node.input[0], values, known).shape)
                continue
            if all(not name or name in known for name in node.input):
                known[output] = _evaluate(node, known)
                continue
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs, parameters = _divided(node, known)
            for name in inputs:
                if name not in values:
                    values[name] = self._place(name, known[name])
            run = OPERATORS[node.op_type](attributes, parameters)
            values[output] = run(*[values[name] for name in inputs])
            steps.append((run, inputs, output))
        for name in self.outputs:
            if name not in values:  # an output that is the same for every input
                values[name] = self._place(name, known[name])
        constants = {n: v for n, v in values.items() if n in known}
        return TorchCall(self.input, self.outputs, constants, steps, values)

    def _place(self, name: str, value: Tensor) -> Tensor:
        """A constant on the device; weights once for all calls."""
        if name not in self._known:
            return value.to(self._device)
        if name not in self._placed:
            self._placed[name] = value.to(self._device)
        return self._placed[name]


class TorchCall:
    """The steps of one call; intermediate results go as soon as nothing reads them."""

    def __init__(
        self,
        source: str,
        outputs: Sequence[str],
        constants: dict[str, Tensor],
        steps: Sequence[tuple[Operator, tuple[str, ...], str]],
        values: dict[str, Tensor],
    ) -> None:
        self._source, self._outputs, self._constants = source, tuple(outputs), constants
        self.shapes = [tuple(values[name].shape) for name in outputs]
        self.dtypes = [values[name].dtype for name in outputs]
        last = {name: i for i, (_, inputs, _) in enumerate(steps) for name in inputs}
        kept = {source, *outputs, *constants}
        drops: list[list[str]] = [[] for _ in steps]
        for name, i in last.items():
            if name not in kept:
                drops[i].append(name)
        self._steps = [_Step(*step, tuple(drop)) for step, drop in zip(steps, drops, strict=True)]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Queue the network on the current stream."""
        values = dict(self._constants)
        values[self._source] = x
        for step in self._steps:
            values[step.output] = step.run(*[values[name] for name in step.inputs])
            for name in step.drop:
                del values[name]
        return [values[name] for name in self._outputs]


def _value(name: str, values: dict[str, Tensor], known: dict[str, Tensor]) -> Tensor:
    return values[name] if name in values else known[name]


def _divided(
    node: onnx.NodeProto, known: dict[str, Tensor]
) -> tuple[tuple[str, ...], dict[int, Any]]:
    """A node's inputs that are tensors of the call, and its parameters as numbers."""
    inputs, parameters = [], {}
    for i, name in enumerate(node.input):
        if i in PARAMETERS.get(node.op_type, ()):
            if name:
                if name not in known:
                    raise BackendError(
                        f"{node.op_type} with a parameter that depends on the picture is not known "
                        "to backend torch"
                    )
                parameters[i] = known[name].tolist()
        elif name:
            inputs.append(name)
    return tuple(inputs), parameters


def _evaluate(node: onnx.NodeProto, known: dict[str, Tensor]) -> Tensor:
    """A node's output where all its inputs are known, on the CPU."""
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    inputs, parameters = _divided(node, known)
    return OPERATORS[node.op_type](attributes, parameters)(*[known[name] for name in inputs])
