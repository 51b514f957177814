"""Bundles that somebody made to do harm: a small sound one, and what chance makes of it.

``python -m tests.hostile SECONDS`` loads spoilt bundles for that long and stops at the first that
ends in anything but a bundle or one sentence, takes long, or fills memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import random
import re
import resource
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgepose.bundle import Bundle
from edgepose.bundle_manifest import sealed
from edgepose.errors import BundleError

SECONDS = 5.0  # of processor time that one bundle may take
MEGABYTES = 1500  # that the process may grow by

TOML = """
format = 2
name = "small"
version = "1"
skeleton = "lsp14"
licence = "none"
[pixels]
scale = 1.0
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
[[stages]]
file = "stage1.onnx"
sha256 = "stage1.onnx"
size = 8
extent = 1.2
[golden]
file = "golden.npz"
sha256 = "golden.npz"
[training]
seed = 1
"""


def network(**tensor: object) -> bytes:
    """(n, 3, 8, 8) to 14 points and scores; ``tensor`` changes fields of its one weight."""
    weight = numpy_helper.from_array(np.zeros((192, 42), np.float32), "w")
    for name, value in tensor.items():
        setattr(weight, name, value)
    nodes = [
        helper.make_node("Flatten", ["crops"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["all"]),
        helper.make_node("Split", ["all"], ["pairs", "scores"], axis=1, num_outputs=2),
        helper.make_node("Identity", ["pairs"], ["points"]),
    ]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        for name, shape in (("crops", (3, 8, 8)), ("points", (21,)), ("scores", (21,)))
    ]
    graph = helper.make_graph(nodes, "small", infos[:1], infos[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def golden() -> bytes:
    file = io.BytesIO()
    arrays = {"input1": (1, 3, 8, 8), "points1": (1, 14, 2), "scores1": (1, 14)}
    np.savez_compressed(file, **{name: np.zeros(shape) for name, shape in arrays.items()})
    return file.getvalue()


@functools.cache
def parts() -> tuple[bytes, bytes]:
    """A network and golden pairs; making them takes longer than loading them."""
    return network(), golden()


def sound() -> dict[str, bytes]:
    """Files of a bundle that loads, by name."""
    return {"bundle.toml": TOML.encode(), "stage1.onnx": parts()[0], "golden.npz": parts()[1]}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a bundle; where its description names a file as its checksum, the right one."""
    folder.mkdir(exist_ok=True)
    text = files["bundle.toml"]
    for name, content in files.items():
        if name != "bundle.toml":
            (folder / name).write_bytes(content)
            mark, digest = f'sha256 = "{name}"', hashlib.sha256(content).hexdigest()
            text = text.replace(mark.encode(), f'sha256 = "{digest}"'.encode())
    with contextlib.suppress(UnicodeDecodeError):
        text = sealed(text.decode()).encode()
    (folder / "bundle.toml").write_bytes(text)
    return folder


NUMBERS = ["9" * 30, *["0", "-1", "nan", "inf", "1e308", "4096", "4097", "true", '"x"', "[]", "{}"]]
NAMES = ["", "x" * 300, "..", "../x", "/etc/passwd", ".", "a/b", "bundle.toml"]
NAMES += ["\\u0000", "\\u001b"]
BLOCKS = [
    "[skeleton]\n",
    "a" + ".a" * 400 + " = 1\n",
    "a = " + "[" * 400 + "\n",
    "[[stages]]\n",
    "[detector]\nfile = 'stage1.onnx'\nsha256 = 'stage1.onnx'\nsize = [8, 8]\nscore = 1\niou = 1\n",
]


def spoil_text(rng: random.Random, text: str) -> str:
    """A description with one thing wrong, such as TOML knows."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    key = lines[at].split("=")[0].strip() or "x"
    kind = rng.randrange(6)
    if kind == 0:
        lines[at] = f"{key} = {rng.choice(NUMBERS)}\n"
    elif kind == 1:
        lines[at] = f'{key} = "{rng.choice(NAMES)}"\n'
    elif kind == 2:
        lines[at] = ""
    elif kind == 3:
        lines[at] *= rng.choice((2, 20, 3000))
    elif kind == 4:
        lines.insert(at, rng.choice(BLOCKS) * rng.choice((1, 1, 40)))
    else:
        lines[at] = re.sub(
            r"\w", lambda m: rng.choice((m[0], chr(rng.randrange(0x250)))), lines[at]
        )
    return "".join(lines)


def spoil_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut, doubled or blown up."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        at, kind = rng.randrange(len(data) or 1), rng.randrange(5)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + rng.randrange(16)] = rng.randbytes(rng.randrange(16))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(64)]
        else:
            data[at : at + 8] = rng.choice((b"\xff" * 8, b"\x00" * 8, b"\x80" * 7 + b"\x01"))
    return bytes(data)


def spoil_archive(rng: random.Random, content: bytes) -> bytes:
    """Golden pairs whose heads lie, that are of other types, or that unpack to a lot."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    head = rng.choice(("(8,)", "(-1, 3)", f"({2**40}, {2**30})", "(1, 'x')", "(" * 300, "()"))
    dtype = rng.choice(("<f8", "|O", "<U99999999", "V1", "x", "<f2"))
    line = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {head}, }}".encode()
    line += b" " * (-(len(line) + 11) % 64) + b"\n"
    lying = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line
    choice = rng.randrange(4)
    members[name] = (
        lying,
        members[name][:80],
        bytes(rng.choice((10**5, 3 * 10**7))),
        lying + bytes(rng.choice((0, 10**6))),
    )[choice]
    if rng.random() < 0.1:
        members |= {f"x{i}": b"" for i in range(400)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((0, 8, 12, 14))) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def spoilt(rng: random.Random) -> dict[str, bytes]:
    """A bundle's files, one of them or two spoilt."""
    files = sound()
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(files))
        if name == "bundle.toml" and rng.random() < 0.8:
            for _ in range(rng.choice((1, 1, 3))):
                text = spoil_text(rng, files[name].decode("utf-8", "replace"))
                files[name] = text.encode("utf-8", "replace")
        elif name == "golden.npz" and rng.random() < 0.7:
            files[name] = spoil_archive(rng, parts()[1])
        else:
            files[name] = spoil_bytes(rng, files[name])
    return files


def load(folder: Path) -> bool:
    """Load a bundle as a program would, up to the arrays; False if it is refused."""
    try:
        bundle = Bundle(folder)
        bundle.networks()
    except BundleError as error:
        sentence = str(error)
    else:
        return True
    assert 20 < len(sentence) < 2000, sentence
    assert sentence.isprintable(), repr(sentence)
    return False


def attack(seed: int, folder: Path) -> bool:
    """One spoilt bundle: AssertionError if it takes too much; what else it ends in is raised."""
    write(folder, spoilt(random.Random(seed)))
    started, before = time.process_time(), _memory()
    accepted = load(folder)
    took, grew = time.process_time() - started, _memory() - before
    assert took < SECONDS, f"it took {took:.1f} s"
    assert grew < MEGABYTES, f"it took {grew} MB"
    return accepted


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(seconds: float) -> None:
    first = time.time_ns() % 10**9
    count = accepted = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            seed = first + count
            try:
                accepted += attack(seed, Path(folder) / "bundle")
            except BaseException:
                print(f"a finding: tests.hostile.attack({seed}, folder)", file=sys.stderr)
                raise
            count += 1
    print(f"{count} spoilt bundles, {accepted} of them harmless, no finding; seeds from {first}")


if __name__ == "__main__":
    main(float(sys.argv[1]))
