"""Exported ONNX graphs made to ship: constants folded, padding merged, weights as float16."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def tidy(path: Path) -> None:
    """Simplify an ONNX file in place; what it computes stays the same.

    The exporter writes "same" padding as a Pad before the convolution, its size computed by a dozen
    nodes. A Pad costs a copy of the map and takes it out of the runtime's fast layout: a seventh
    of the detector's time. To be run before weights are stored as float16: it folds those casts.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(folded)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = onnx.load(str(folded))
    merge_padding(model.graph)
    # The runtime lists every operator set that it knows.
    standard = [o for o in model.opset_import if not o.domain]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def merge_padding(graph: onnx.GraphProto) -> None:
    """Merge each Pad with constant zeros that feeds one convolution into its ``pads``, in place."""
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    results = {o.name for o in graph.output}
    for pad in [n for n in graph.node if n.op_type == "Pad"]:
        after = users.get(pad.output[0], [])
        if len(after) != 1 or after[0].op_type != "Conv" or pad.output[0] in results:
            continue
        mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
        amount = constants.get(pad.input[1])
        fill = pad.input[2] if len(pad.input) > 2 else ""
        level = constants.get(fill) if fill else np.zeros(1)
        if mode != b"constant" or amount is None or level is None or np.any(level != 0):
            continue
        before, behind = amount[: len(amount) // 2], amount[len(amount) // 2 :]
        if len(pad.input) > 3 or before[:2].any() or behind[:2].any() or amount.min() < 0:
            continue
        conv = after[0]
        if any(a.name == "auto_pad" and a.s not in (b"", b"NOTSET") for a in conv.attribute):
            continue
        own = next((list(a.ints) for a in conv.attribute if a.name == "pads"), [0] * 4)
        total = [int(v) for v in np.concatenate((before[2:], behind[2:])) + np.array(own)]
        kept = [a for a in conv.attribute if a.name != "pads"]
        del conv.attribute[:]
        conv.attribute.extend([*kept, helper.make_attribute("pads", total)])
        conv.input[0] = pad.input[0]
        graph.node.remove(pad)
    used = {name for node in graph.node for name in node.input} | results
    spare = [t for t in graph.initializer if t.name not in used]
    for tensor in spare:
        graph.initializer.remove(tensor)


def store_float16(path: Path) -> None:
    """Store an ONNX file's larger float32 weights as float16 behind a Cast.

    Runtimes fold the Cast when they load the file, so arithmetic stays float32. A tensor that
    float16 cannot hold exactly is left alone: round the weights first (:func:`deployable`).
    """
    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        half = value.astype(np.float16)
        if value.size < 64 or not np.array_equal(half.astype(np.float32), value):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    for cast_node in reversed(casts):
        graph.node.insert(0, cast_node)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
