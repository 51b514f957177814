"""What somebody else made ends in one sentence: bundles, tars, descriptions, names of files."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepose import onnx_wire
from edgepose.archive import array_shapes
from edgepose.bundle import SHIPPED, Bundle
from edgepose.data.convert import convert
from edgepose.data.records import Pictures, load_records
from edgepose.errors import BundleError, DataError
from edgepose.picture import decode_picture
from edgepose.skeleton import COCO17, load_skeleton
from tests import hostile
from tests.data.test_formats import coco
from tests.data.test_records import GOOD, picture
from tests.data.test_records import write as write_lines


@pytest.fixture
def refused(tmp_path):
    """Loads a bundle that differs from a sound one in some files; gives the sentence."""

    def load(**changed: bytes) -> str:
        files = hostile.sound() | {name.replace("_", "."): data for name, data in changed.items()}
        with pytest.raises(BundleError) as caught:
            Bundle(hostile.write(tmp_path / "bundle", files))
        assert str(caught.value).isprintable()
        return str(caught.value)

    return load


def described(old: str, new: str) -> bytes:
    assert old in hostile.TOML
    return hostile.TOML.replace(old, new).encode()


def test_the_sound_one_loads(tmp_path):
    bundle = Bundle(hostile.write(tmp_path / "bundle", hostile.sound()))
    assert [n.name for n in bundle.networks()] == ["stage1"]


def test_chance_finds_nothing(tmp_path):
    """``make fuzz-bundle`` goes on for a minute."""
    accepted = sum(hostile.attack(seed, tmp_path / "bundle") for seed in range(60))
    assert accepted < 60


@pytest.mark.parametrize(
    ("bomb", "sentence"),
    [
        ("a" + ".a" * 30_000 + " = 1", "a line of more than 1000 bytes"),
        ("a = " + "[" * 900, "nested too deeply|not a valid"),
        ("a = 1\n" * 20_000, "larger than 64 KiB"),
        ("[[stages]]\n" * 5000, "not a valid bundle description"),
    ],
)
def test_a_toml_bomb(refused, bomb, sentence):
    assert re.search(sentence, refused(bundle_toml=(hostile.TOML + bomb).encode()))


def test_a_key_of_many_parts_is_quick(refused):
    """The largest that is let through: parsers take time with the square of the parts."""
    started = time.process_time()
    refused(bundle_toml=(hostile.TOML + ("x" + ".a" * 498 + " = 1\n") * 60).encode())
    assert time.process_time() - started < hostile.SECONDS


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.onnx", "a\\u0000b", "", "."])
def test_a_name_that_leads_outside(refused, name):
    text = refused(bundle_toml=described('file = "stage1.onnx"', f'file = "{name}"'))
    assert "outside its folder; use another bundle" in text


def test_a_link_a_pipe_and_a_device(tmp_path):
    folder = hostile.write(tmp_path / "bundle", hostile.sound())
    stage = folder / "stage1.onnx"
    for target in ("/dev/zero", "stage1.onnx"):
        stage.unlink()
        stage.symlink_to(target)
        with pytest.raises(BundleError, match="outside its folder"):
            Bundle(folder)
    stage.unlink()
    os.mkfifo(stage)
    with pytest.raises(BundleError, match="no regular file"):
        Bundle(folder)
    description = folder / "bundle.toml"
    description.unlink()
    description.symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=r"cannot read bundle\.toml \(it lies outside"):
        Bundle(folder)


def test_names_that_a_terminal_would_obey(refused):
    name = described('name = "small"', 'name = "\\u001b]0;owned\\u0007"')
    assert "cannot be shown" in refused(bundle_toml=name)


def test_more_crops_than_memory(refused):
    table = '[skeleton]\nname = "s"\nlimbs = []\ntorso = "extent"\njoints = [\n'
    table += ",\n".join(f'"j{i}"' for i in range(600)) + "]\n"
    text = hostile.TOML.replace('skeleton = "lsp14"\n', "")
    assert "600 joints (at most 512)" in refused(bundle_toml=(text + table).encode())
    stage = hostile.TOML[hostile.TOML.index("[[stages]]") : hostile.TOML.index("[golden]")]
    large = described(stage, stage + stage.replace("size = 8", "size = 4000"))
    assert "14 crops of 4000 pixels, too many" in refused(bundle_toml=large)
    assert "17 stages (1 to 16)" in refused(bundle_toml=described(stage, stage * 17))


def npz(**arrays: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def array(shape: str, dtype: str = "<f8", content: bytes = b"") -> bytes:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: npz(input1=array(f"({2**40}, 9)")), "of another size than it says"),
        (lambda: npz(input1=array("(-1,)")), "of another size than it says"),
        (lambda: hostile.golden().replace(b"PK\x03\x04", b"PK\x03\x05", 1), "no golden pairs"),
        (lambda: npz(input1=array("(1,)", "|O", b"cos\nsystem\n(S'x'\ntR.")), "holds objects"),
        (lambda: npz(**{f"x{i}": array("(1,)") for i in range(300)}), "more than 256 arrays"),
        (lambda: npz(input1=b"no array"), "no golden pairs"),
        (lambda: b"PK\x03\x04", "no golden pairs"),
    ],
)
def test_golden_pairs_that_are_bombs(refused, make, sentence):
    assert sentence in refused(golden_npz=make())


def test_arrays_that_unpack_to_a_lot(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(x=array("(400000,)", content=bytes(3_200_000))))
    assert array_shapes(tmp_path / "a.npz", 2**22) == {"x": (400_000,)}
    with pytest.raises(ValueError, match="unpacks to more than 2 MiB"):
        array_shapes(tmp_path / "a.npz", 2**21)


def test_shapes_are_those_of_the_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((2, 3)), y=np.zeros((), np.float16))
    assert array_shapes(tmp_path / "a.npz", 1000) == {"x": (2, 3), "y": ()}


def test_weights_outside_of_the_file(refused):
    network = hostile.network(data_location=TensorProto.EXTERNAL)
    assert "keeps weights in another file" in refused(stage1_onnx=network)


@pytest.mark.parametrize("hidden", [False, True])
def test_an_operator_without_end(refused, hidden):
    """Also within the branch of another, where a runtime finds it and a shallow look does not."""
    body = helper.make_graph([], "body", [], [])
    node = helper.make_node("Loop", ["", ""], ["y"], body=body)
    if hidden:
        branch = helper.make_graph([node], "branch", [], [])
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    text = refused(stage1_onnx=model.SerializeToString())
    assert "has the operator Loop, which may run without end" in text


@pytest.mark.parametrize("content", [b"\x0b", b"\x3a\xff\x01", b"\xff" * 11, b"\x3a"])
def test_bytes_that_are_no_onnx(refused, content):
    assert "is no ONNX file" in refused(stage1_onnx=content)


def test_graphs_within_graphs(refused):
    message = b""
    for _ in range(200):  # Graph.node is 1, Node.attribute 5, Attribute.g 6
        for number in (6, 5, 1):
            message = field(number, message)
    assert "nested too deeply" in refused(stage1_onnx=field(7, message))


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_the_wire_is_read_as_onnx_reads_it(monkeypatch):
    """Every operator, attribute and tensor of the networks that ship is looked at."""
    inner = onnx_wire._fault
    seen: dict[str, int] = {}

    def count(message, kind, depth):
        seen[kind] = seen.get(kind, 0) + 1
        return inner(message, kind, depth)

    monkeypatch.setattr(onnx_wire, "_fault", count)
    for path in sorted(SHIPPED.glob("*.onnx")):
        graph = onnx.load(str(path)).graph
        seen.clear()
        assert onnx_wire.fault(path.read_bytes()) is None
        attributes = [a for node in graph.node for a in node.attribute]
        assert seen["Node"] == len(graph.node)
        assert seen["Attribute"] == len(attributes)
        assert seen["Tensor"] == len(graph.initializer) + sum(a.HasField("t") for a in attributes)


def link(info):
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def device(info):
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 5  # /dev/zero


def sparse(info):
    """A head that says 2^40 bytes, of which none is stored."""
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(2**40),
        "GNU.sparse.name": "a.png",
    }


@pytest.mark.parametrize(
    ("make", "sentence"),
    [(link, "is a link"), (device, "is a link, a device"), (sparse, "larger than 256 MiB")],
)
def test_a_hostile_tar(tmp_path, make, sentence):
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        info = tarfile.TarInfo("a.png")
        make(info)
        tar.addfile(info)
    data = write_lines(tmp_path / "set.jsonl", GOOD)
    with Pictures(data) as pictures, pytest.raises(DataError, match=sentence):
        pictures.decode("a.png")


def test_a_tar_of_names_that_climb_writes_nothing(tmp_path):
    """Members are read by name and never unpacked."""
    content = picture()
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        info = tarfile.TarInfo("../climbed.png")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    data = write_lines(tmp_path / "set.jsonl", GOOD)
    with Pictures(data) as pictures:
        assert pictures.decode("../climbed.png").shape == (96, 64, 3)
    assert not (tmp_path.parent / "climbed.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.jsonl", "set.tar"]


def test_a_compressed_tar_is_not_unpacked(tmp_path):
    packed = zlib.compressobj(wbits=31)
    (tmp_path / "set.tar").write_bytes(packed.compress(bytes(10**7)) + packed.flush())
    data = write_lines(tmp_path / "set.jsonl", GOOD)
    with pytest.raises(DataError, match=r"cannot read .*set\.tar"):
        Pictures(data)


@pytest.mark.parametrize("name", ["../../secret.png", "{tmp}/secret.png", "link.png", "a\0b"])
def test_pictures_lie_beside_their_annotations(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "data" / "set" / "link.png").symlink_to(tmp_path / "secret.png")
    data = write_lines(tmp_path / "data" / "set.jsonl", GOOD)
    with Pictures(data) as pictures, pytest.raises(DataError, match="outside its folder"):
        pictures.decode(name.format(tmp=tmp_path))


def test_converting_takes_no_picture_from_elsewhere(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(picture())
    coco(tmp_path / "c.json", COCO17.joints)
    whole = json.loads((tmp_path / "c.json").read_text())
    for image in whole["images"]:
        image["file_name"] = "../secret.png"
    (tmp_path / "c.json").write_text(json.dumps(whole))
    with pytest.raises(DataError, match="outside its folder"):
        convert(tmp_path / "c.json", "coco", tmp_path / "images", tmp_path / "out", 0.0)
    assert not list(tmp_path.glob("out*"))


def test_deep_json(tmp_path):
    (tmp_path / "c.json").write_text("[" * 10**5)
    with pytest.raises(DataError, match="is not JSON"):
        convert(tmp_path / "c.json", "coco", tmp_path, tmp_path / "out", 0.0)
    data = tmp_path / "set.jsonl"
    data.write_text('{"x": ' + "[" * 10**5 + "\n")
    with pytest.raises(DataError, match="line 1 is not a valid annotation"):
        load_records(data)


def test_a_skeleton_beside_the_data_is_bounded(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("a" + ".a" * 30_000 + " = 1")
    with pytest.raises(DataError, match="a line of more than 1000 bytes"):
        load_skeleton(str(path))


def test_a_picture_that_unpacks_to_gigabytes():
    """A PNG of a few hundred bytes that says 20,000 x 20,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    assert decode_picture(b"\x89PNG\r\n\x1a\n" + head + data) is None


NO_NETWORK = """
import sys
def watch(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        print("the network was asked for:", event, arguments, file=sys.stderr)
        sys.stderr.flush()
        import os
        os._exit(99)
sys.addaudithook(watch)
import edgepose
for number, result in enumerate(edgepose.stream("test")):
    if number == 2:
        break
import json
json.dump(sorted(edgepose.Bundle().manifest.training), sys.stdout)
"""


def test_nothing_is_asked_of_the_network():
    """Python's own audit of sockets; what a native library does is seen in the table of files."""
    code = NO_NETWORK + (
        "\nimport os\nnames = []\n"
        "for f in os.listdir('/proc/self/fd'):\n"
        "    try: names.append(os.readlink(f'/proc/self/fd/{f}'))\n"
        "    except OSError: pass\n"
        "assert not [n for n in names if n.startswith('socket:')], names\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
