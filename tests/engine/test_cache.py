"""Manifests and the folder of engines; plans here are any bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import msgspec
import pytest

from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.manifest import FORMAT, EngineManifest, Identity, differences
from edgepose.engine.recipe import EngineRecipe, parse_batch, read_engine_recipe
from edgepose.errors import EngineError

IDENTITY = Identity(
    network="stage1",
    onnx="a" * 64,
    flavour="tensorrt",
    version="10.3.0",
    targets=("sm87",),
    cuda="12",
    precision="fp16",
    batch=(1, 2, 4, 8),
    float32=(),
    workspace=256,
)


def different(**changes) -> Identity:
    return msgspec.structs.replace(IDENTITY, **changes)


def manifest(plan: bytes, identity: Identity = IDENTITY) -> EngineManifest:
    digest = hashlib.sha256(plan).hexdigest()
    return EngineManifest(
        format=FORMAT,
        bundle="tiny 1",
        identity=identity,
        plan=f"{identity.network}-{identity.key}-{digest[:8]}.plan",
        sha256=digest,
        bytes=len(plan),
        seconds=1.0,
        built="2026-01-01T00:00:00+00:00",
        edgepose="0",
    )


def store(cache: Cache, plan: bytes, identity: Identity = IDENTITY) -> EngineManifest:
    kept = manifest(plan, identity)
    with cache.lock(lambda: None):
        cache.store(kept, plan)
    return kept


def test_what_is_stored_is_found_and_read(cache):
    kept = store(cache, b"plan")
    assert cache.find("tiny 1", IDENTITY) == (kept, "")
    assert cache.read(kept) == b"plan"
    assert cache.find("tiny 2", IDENTITY) == (None, "")
    assert cache.find("tiny 1", different(network="stage2")) == (None, "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"onnx": "b" * 64}, "the network has changed since (SHA-256 aaaaaaaaaaaa…, expected bbbb"),
        ({"version": "10.13.3"}, "built by tensorrt 10.3.0, expected is tensorrt 10.13.3"),
        ({"flavour": "tensorrt-rtx"}, "built by tensorrt 10.3.0, expected is tensorrt-rtx 10.3.0"),
        ({"targets": ("sm89",)}, "it is for compute capability sm87, expected is sm89"),
        ({"cuda": "13"}, "it is for CUDA 12, expected is CUDA 13"),
        ({"precision": "fp32"}, "its precision is fp16, expected is fp32"),
        ({"batch": (1, 2)}, "its batch is 1:2:4:8, expected is 1:2"),
        ({"batch": None}, "its batch is 1:2:4:8, expected is fixed"),
        ({"float32": ("Conv",)}, "its recipe keeps other layers in float32"),
        ({"workspace": 64}, "or another workspace"),
        ({"converter": 0}, "converted by another version of edgepose"),
    ],
)
def test_every_difference_is_told(cache, changes, says):
    wanted = different(**changes)
    assert wanted.key != IDENTITY.key
    store(cache, b"plan")
    found, reason = cache.find("tiny 1", wanted)
    assert found is None
    assert "does not fit: " in reason
    assert says in reason


def test_all_fields_of_an_identity_are_compared():
    """A field that is added later must be told too."""
    told = {"onnx", "flavour", "version", "targets", "cuda", "precision", "batch", "float32"}
    assert set(Identity.__struct_fields__) == told | {"workspace", "converter", "network"}


def test_an_engine_for_more_gpus_or_built_ahead_of_time_fits():
    both = different(targets=("sm86", "sm87"), cuda="")
    assert differences(both, IDENTITY) == []
    assert differences(IDENTITY, both)


def test_the_nearest_engine_is_told(cache):
    store(cache, b"far", different(precision="fp32", version="9", targets=("sm50",)))
    store(cache, b"near", different(precision="bf16"))
    reason = cache.find("tiny 1", IDENTITY)[1]
    assert "precision is bf16" in reason
    assert "sm50" not in reason


def test_a_manifest_cannot_name_a_file_elsewhere(cache):
    kept = store(cache, b"plan")
    (path,) = cache.folder.glob("*.json")
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(kept, plan="../plan")))
    found, reason = cache.find("tiny 1", IDENTITY)
    assert found is None
    assert "names a plan outside its folder" in reason


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "is full; free some space or choose another folder with --out"),
        (errno.EROFS, "(Read-only file system); choose another folder with --out"),
        (errno.EACCES, "(Permission denied); choose another folder with --out"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "mkdir", "lock"])
def test_a_disk_that_refuses(cache, monkeypatch, code, says, call):
    """Wherever it refuses: what was there stays, and one sentence says so."""
    store(cache, b"before")
    before = {p.name: p.read_bytes() for p in cache.folder.iterdir()}

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(os, "fsync", refuse)
        elif call == "mkdir":
            patch.setattr(Path, "mkdir", refuse)
        else:
            patch.setattr("edgepose.engine.cache.FileLock.acquire", refuse)
        with pytest.raises(EngineError) as caught:
            store(cache, b"after")
    assert says in str(caught.value)
    assert str(cache.folder) in str(caught.value)
    assert {p.name: p.read_bytes() for p in cache.folder.iterdir()} == before


@pytest.mark.parametrize("stop", range(6))
def test_killed_at_any_write(cache, monkeypatch, stop):
    """However far a replacement came, there is the old engine or the new one."""
    old = store(cache, b"old")

    class Killed(BaseException):
        pass

    count = 0

    def count_down(real):
        def call(*arguments, **options):
            nonlocal count
            if count == stop:
                raise Killed
            count += 1
            return real(*arguments, **options)

        return call

    new = manifest(b"new")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", count_down(os.fsync))
        patch.setattr(Path, "replace", count_down(Path.replace))
        # As after SIGKILL: nothing is tidied.
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            cache.store(new, b"new")
    found, reason = Cache(cache.folder).find("tiny 1", IDENTITY)
    assert found in (old, new), reason
    assert cache.read(found) == (b"old" if found == old else b"new")
    store(cache, b"third")
    assert len(list(cache.folder.glob("*.plan"))) == 1
    assert not list(cache.folder.glob("*.part"))


def test_one_builder_at_a_time(cache):
    order = []

    def second():
        with cache.lock(lambda: order.append("waits")):
            order.append("second")

    thread = threading.Thread(target=second)
    with cache.lock(lambda: None):
        thread.start()
        while not order:
            thread.join(0.01)
        order.append("first")
    thread.join(10)
    assert order == ["waits", "first", "second"]


def test_where_engines_lie(monkeypatch, tmp_path):
    import edgepose

    checkout = Path(edgepose.__file__).parents[1]
    assert default_folder() == checkout / "engines"
    monkeypatch.setattr("edgepose.engine.cache.__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder() == tmp_path / "cache" / "edgepose" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "edgepose" / "engines"


def test_recipes_that_ship():
    folder = Path(__file__).parents[2] / "engines"
    assert read_engine_recipe(folder / "default.toml") == EngineRecipe()
    assert {p.name for p in folder.glob("*.toml")} >= {"default.toml", "exact.toml"}
    assert read_engine_recipe(folder / "exact.toml").precision == "fp32"


@pytest.mark.parametrize("text", ["", "0", "0:1:2", "2:1", "1:1:5", "1:2:", "a:b:c", "1:1000000"])
def test_a_batch_that_is_none(text):
    with pytest.raises(EngineError, match="is not the numbers of persons that calls may have"):
        parse_batch(text)
