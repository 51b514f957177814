"""What an ONNX file would make a runtime do, read off its bytes, with no runtime and no onnx.

The numbers are those of the fields in onnx.proto (https://github.com/onnx/onnx), the encoding is
protobuf's: each field a key, ``number << 3 | wire type``, and a value.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH = 64

# Per message: the fields that hold messages in which a tensor or an operator may hide.
_INSIDE: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_OPERATOR = 4  # Node.op_type
_EXTERNAL = (13, 14)  # Tensor.external_data, Tensor.data_location
_ENDLESS = (b"Loop", b"Scan", b"SequenceMap")


def fault(content: bytes) -> str | None:
    """Why a bundle must not hold this network, if there is a reason: ``"is …"`` or ``"has …"``."""
    try:
        return _fault(memoryview(content), "Model", 0)
    except (ValueError, IndexError):
        return "is no ONNX file"


def _fault(message: memoryview, kind: str, depth: int) -> str | None:
    if depth > _DEPTH:
        return "is nested too deeply"
    inside = _INSIDE[kind]
    for number, value in _fields(message):
        if kind == "Tensor" and number in _EXTERNAL and value:
            return "keeps weights in another file; export it with its weights inside"
        if not isinstance(value, memoryview):
            continue
        if kind == "Node" and number == _OPERATOR and bytes(value[:16]) in _ENDLESS:
            return f"has the operator {bytes(value).decode()}, which may run without end"
        if number in inside and (found := _fault(value, inside[number], depth + 1)):
            return found
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field: an int, or the bytes. ValueError if it is cut or no such."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("groups are of no use in ONNX")
        if size > end - at:
            raise ValueError("cut short")
        if wire == _BYTES:
            yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
