"""From a bundle's float32 ONNX to the strongly typed network that an engine is built from.

The conversion to float16 is ONNX Runtime's own (``onnxruntime.transformers.float16``, MIT): the
runtime is there anyway, and unlike the other converters it needs no torch. What it does not do is
done here: weights that are stored as float16 are unfolded first, what decodes the last layer stays
float32, and the pairs of casts that it leaves between float32 layers are taken out, since each
would round to float16.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.errors import EngineError

if TYPE_CHECKING:
    import onnx

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BFLOAT16_OPSET = 22


def strongly_typed(path: Path, precision: str, float32: Sequence[str] = ()) -> bytes:
    """The network at ``path`` in ``precision``, serialised.

    ``float32``: patterns (``*``, ``?``) for names or operators of nodes that stay float32, beside
    all that comes after the last weighted layer. The input is float16 with "fp16", otherwise
    float32; outputs are float32. Raises EngineError if the ``onnx`` package is missing, the file is
    no network, or a pattern fits nothing.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            "building engines needs the package onnx; install it with: pip install onnx"
        ) from error
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise EngineError(f"{path} is not an ONNX network; copy the bundle again") from error
    try:
        data: bytes = _converted(model, precision, float32).SerializeToString()
    except EngineError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise EngineError(
            f"{path} cannot be converted to {precision}: {reason}; try another --precision"
        ) from error
    return data


def _converted(model: onnx.ModelProto, precision: str, float32: Sequence[str]) -> onnx.ModelProto:
    import onnx.version_converter

    _unfold_weights(model.graph)
    _narrow_doubles(model.graph)
    if precision == "bf16":
        # Before operator set 22 convolutions know no bfloat16.
        model = onnx.version_converter.convert_version(model, _BFLOAT16_OPSET)
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    if precision != "fp32":
        kept = [*_after_last_weights(model.graph), *_matching(model.graph, float32)]
        outputs = [o.name for o in model.graph.output]
        # NumPy has no bfloat16 to give as input.
        inputs = [i.name for i in model.graph.input] if precision == "bf16" else []
        model = _halved(model, kept, [*inputs, *outputs])
        if precision == "bf16":
            _to_bfloat16(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _unfold_weights(graph: onnx.GraphProto) -> None:
    """Store weights that are float16 behind a Cast as the float32 that they are used as."""
    from onnx import TensorProto, numpy_helper

    stored = {t.name: t for t in graph.initializer}
    for node in list(graph.node):
        half = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if half is None or node.attribute[0].i != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(half).astype("float32")
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)
    _drop_unused(graph)


def _narrow_doubles(graph: onnx.GraphProto) -> None:
    """Turn float64 into float32: engines know no float64."""
    from onnx import TensorProto, numpy_helper

    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.DOUBLE:
            value = numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.DOUBLE:
            node.attribute[0].i = TensorProto.FLOAT
    for value in (*graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT


def _after_last_weights(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that no weighted layer comes after: they decode its output."""
    feeds: set[str] = set()  # tensors from which a weighted layer is reached
    after = []
    for node in reversed(graph.node):
        if node.op_type in _WEIGHTED or feeds.intersection(node.output):
            feeds.update(node.input)
        else:
            after.append(node.name)
    return after


def _matching(graph: onnx.GraphProto, patterns: Sequence[str]) -> list[str]:
    names = []
    for pattern in patterns:
        found = [n.name for n in graph.node if fnmatchcase(n.name, pattern) or n.op_type == pattern]
        if not found:
            raise EngineError(
                f"the recipe keeps {pattern!r} in float32, but the network has no such node or "
                "operator; take it out, or see the names with edgepose-build --inspect"
            )
        names += found
    return names


def _halved(model: onnx.ModelProto, float32: Sequence[str], wide: Sequence[str]) -> onnx.ModelProto:
    """``model`` in float16 but for the nodes ``float32`` and the inputs and outputs ``wide``."""
    # Importing it puts its folder on the search path.
    before = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    finally:
        sys.path[:] = before
    half: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=list(wide), node_block_list=list(float32)
    )
    _remove_cast_pairs(half.graph)
    OnnxModel(half).topological_sort()
    return half


def _remove_cast_pairs(graph: onnx.GraphProto) -> None:
    """Take out each cast of float32 to float16 and back."""
    from onnx import TensorProto

    def casts(kind: int) -> Iterator[Any]:
        return (n for n in graph.node if n.op_type == "Cast" and n.attribute[0].i == kind)

    wide = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    narrowed = {n.output[0]: n.input[0] for n in casts(TensorProto.FLOAT16) if n.input[0] in wide}
    outputs = {o.name for o in graph.output}
    for cast in list(casts(TensorProto.FLOAT)):
        source = narrowed.get(cast.input[0])
        if source is None:
            continue
        kept, gone = source, cast.output[0]
        if gone in outputs:
            kept, gone = gone, kept
        for node in graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == gone:
                        names[i] = kept
        graph.node.remove(cast)
        narrowed = {k: kept if v == gone else v for k, v in narrowed.items()}
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and weights whose result nobody reads."""
    makers = {name: node for node in graph.node for name in node.output}
    used: set[str] = set()
    open_names = [o.name for o in graph.output]
    while open_names:
        name = open_names.pop()
        if name not in used:
            used.add(name)
            open_names += makers[name].input if name in makers else ()
    for node in [n for n in graph.node if not used.intersection(n.output)]:
        graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


def _to_bfloat16(model: onnx.ModelProto) -> None:
    """Turn every float16 of a converted network into bfloat16, in place."""
    import ml_dtypes
    from onnx import TensorProto, numpy_helper

    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
    for value in graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
