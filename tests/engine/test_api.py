"""The adapter's API against TensorRT's real Python bindings, version by version.

TensorRT's libraries do not fit a CI machine, but the bindings are small: they import against
stub libraries that have the few symbols they want. ``mypy`` holds the adapter to the classes of
``edgepose.engine.api`` and its Module; here these are held to the bindings.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgepose.engine import adapter, api, flavour

# Newest and oldest of each line that is supported; 10.3.0 is JetPack 6's.
VERSIONS = {
    "10.3.0": "tensorrt_cu12_bindings",
    "10.13.3.9": "tensorrt_cu13_bindings",
    "10.16.1.11": "tensorrt_cu13_bindings",
    "11.4.0.106": "tensorrt_cu13_bindings",
}
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
GONE = ("execute_async_v2", "device_memory_size", "int8_calibrator", "FP16", "INT8")


def members(kind: type) -> set[str]:
    """What a protocol declares itself."""
    own = {name for name in vars(kind) if inspect.isfunction(vars(kind)[name])}
    names = own | set(inspect.get_annotations(kind))
    return {n for n in names if n == "__version__" or not n.startswith("_")}


def protocols() -> dict[str, set[str]]:
    """Members of every class of the API, by its name in TensorRT."""
    found = {
        name: members(kind)
        for name, kind in vars(api).items()
        if inspect.isclass(kind) and getattr(kind, "_is_protocol", False) and name != "Protocol"
    }
    return found | {"": members(flavour.Module)}


COMMON = {name: names for name, names in protocols().items() if not name.startswith("Rtx")}
EXTRAS = {
    name.removeprefix("Rtx"): names for name, names in protocols().items() if name.startswith("Rtx")
}


def missing(module, classes: dict[str, set[str]]) -> list[str]:
    """What a module lacks of it."""
    lacks = []
    for name, names in classes.items():
        kind = getattr(module, name, None) if name else module
        lacks += [f"{name}.{n}" for n in sorted(names) if not hasattr(kind, n)]
    return lacks


def test_the_api_is_not_empty():
    assert COMMON["IExecutionContext"] >= {"execute_async_v3", "set_tensor_address"}
    assert "supports_model_v2" in COMMON["OnnxParser"]
    assert "STRONGLY_TYPED" in COMMON["NetworkDefinitionCreationFlag"]
    assert {"Builder", "Runtime", "IErrorRecorder", "IProgressMonitor"} <= COMMON[""]
    used = set().union(*COMMON.values(), *EXTRAS.values())
    assert len(used) > 60
    assert not used & set(GONE)


def test_a_member_that_is_not_there_is_found():
    class Empty:
        Builder = object

    assert "Builder.create_network" in missing(Empty, COMMON)


def test_tensorrt_rtx(rtx):
    assert missing(rtx.module, COMMON) == []
    assert missing(rtx.module, EXTRAS) == []
    assert {"SM86", "SM120"} <= set(rtx.module.ComputeCapability.__members__)


@pytest.fixture(scope="session")
def wheels(request):
    """Unpacks the bindings of a version, from the package index or the cache of an earlier run."""
    folder = Path(request.config.cache.mkdir(f"tensorrt-{sys.implementation.cache_tag}"))

    def unpack(version: str) -> Path:
        target = folder / version
        if target.is_dir():
            return target
        package = f"{VERSIONS[version]}=={version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), package]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("the package index does not answer")
        if done.returncode:
            lines = [x for x in done.stderr.splitlines() if x.startswith("ERROR")]
            pytest.skip(f"{package} cannot be had here: {lines[-1] if lines else done.stderr}")
        (wheel,) = folder.glob(f"{VERSIONS[version]}-{version}-*.whl")
        part = folder / f"{version}.part"
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part)
        part.rename(target)
        wheel.unlink()
        return target

    return unpack


@pytest.fixture(scope="session")
def stubs(tmp_path_factory) -> Path:
    """Shared libraries of TensorRT's names with the functions that its bindings import."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("stubs")
    names = [
        *(f"create{n}_INTERNAL" for n in ("InferBuilder", "InferRuntime", "InferRefitter")),
        *(f"createNvOnnxParser{n}_INTERNAL" for n in ("", "Refitter")),
        *("getNvOnnxParserVersion", "getBuilderPluginRegistry", "getPluginRegistry"),
        *("initLibNvInferPlugins", "getLogger", "getInferLibVersion"),
    ]
    source = folder / "stub.c"
    source.write_text("".join(f"void *{n}(void) {{ return 0; }}\n" for n in names))
    built = folder / "stub.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source], check=True)
    for library in LIBRARIES:
        for major in (10, 11):
            shutil.copy(built, folder / f"lib{library}.so.{major}")
    return folder


LOOK = """
import json, sys
import tensorrt_bindings as trt
lacks = []
for name, names in json.load(sys.stdin).items():
    kind = getattr(trt, name, None) if name else trt
    lacks += [f"{name}.{n}" for n in sorted(names) if not hasattr(kind, n)]
print(json.dumps({"version": trt.__version__, "lacks": lacks,
                  "gone": [hasattr(trt.IExecutionContext, "execute_async_v2")]}))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_tensorrt(version, wheels, stubs):
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(wheels(version))}
    asked = {name: sorted(names) for name, names in COMMON.items()}
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        input=json.dumps(asked),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"version": version, "lacks": [], "gone": [False]}


def test_nothing_touches_tensorrt_past_the_api():
    """Modules that use TensorRT's objects are those that mypy holds to the API."""
    folder = Path(adapter.__file__).parent
    users = [
        path.name
        for path in sorted(folder.glob("*.py"))
        if re.search(r"flavour\.module\b|_flavour\.module\b", path.read_text())
    ]
    assert users == ["adapter.py", "runtime.py"]
