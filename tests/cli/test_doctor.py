"""``edgepose-doctor`` on this machine and on machines that it is told of."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgepose.bundle import Bundle
from edgepose.cli import _examination, _finding, _gpu_findings, _host_findings
from edgepose.crop import native
from edgepose.cuda.driver import Driver, Gpu, driver
from edgepose.engine.flavour import Flavour

ORIN = Driver("12.6", (Gpu("Orin", (8, 7), 8 << 30),))

EVERY = """system GPU CUDA-toolkit CUDA-kernels tensorrt tensorrt-rtx pycuda onnx onnxruntime
openvino OpenCV GStreamer cameras bundle engines"""


def doctor(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edgepose.cli.doctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_on_this_machine():
    done = doctor("--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = {f["what"]: f for f in json.loads(done.stdout)}
    for word in EVERY.split():
        what = word.replace("CUDA-", "CUDA ")
        assert found[what]["found"]
        assert found[what]["state"] in ("ok", "missing")
    assert Bundle().name in found["bundle"]["found"]
    assert bool(driver().gpus) == (found["GPU"]["state"] == "ok")
    assert "FFMPEG" in found["OpenCV"]["found"]
    for finding in found.values():
        assert finding["state"] == "ok" or finding["next"] or finding["what"] == "engines"


def test_for_reading():
    done = doctor()
    assert done.returncode == 0, done.stderr
    assert "✓ bundle" in done.stdout
    assert "→ " in done.stdout


def test_a_broken_bundle(tmp_path):
    done = doctor("--bundle", tmp_path)
    assert done.returncode == 2
    assert "✗ bundle" in done.stdout
    assert done.stderr == (
        "edgepose-doctor: edgepose cannot run here as it is: see bundle above for the next step\n"
    )


def look(monkeypatch, found, flavours=()):
    monkeypatch.setattr(_examination, "driver", lambda: found)
    monkeypatch.setattr(_examination, "installed", lambda: list(flavours))
    return {f.what: f for f in _examination.examine(None)}


def test_a_jetson_with_no_more_than_jetpack(monkeypatch, tmp_path):
    model = tmp_path / "model"
    model.write_text("NVIDIA Jetson Orin Nano\0")
    release = tmp_path / "release"
    release.write_text("# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n")
    monkeypatch.setattr(_host_findings, "_MODEL", model)
    monkeypatch.setattr(_finding, "_JETPACK", release)
    nvcc = tmp_path / "cuda" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.touch()
    monkeypatch.setattr(_gpu_findings, "_NVCC", nvcc)
    monkeypatch.setenv("PATH", "")
    found = look(monkeypatch, ORIN)
    assert found["system"].found.startswith("NVIDIA Jetson Orin Nano, Linux")
    assert found["system"].found.endswith("Jetson Linux 36.4.0")
    assert found["GPU"].found == "Orin, sm87, 8.0 GiB"
    assert "CUDA 12.6" in found["NVIDIA driver"].found
    assert "apt install python3-libnvinfer" in found["tensorrt"].next
    assert found["CUDA toolkit"].next.endswith(f"export PATH={nvcc.parent}:$PATH")
    assert found["tensorrt-rtx"].state == "missing"


def test_engines_that_are_missing_for_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(_gpu_findings, "default_folder", lambda: tmp_path)
    flavour = Flavour("tensorrt", "10.3.0", SimpleNamespace())
    monkeypatch.setattr(_gpu_findings, "flavour", lambda _: flavour)
    found = look(monkeypatch, ORIN, ["tensorrt"])
    assert found["tensorrt"].found == "10.3.0"
    assert found["engines"].found == f"0 in {tmp_path}, none for this GPU"
    assert found["engines"].next == "edgepose-build --verify"


@pytest.mark.parametrize("name", ["onnxruntime", "cv2"])
def test_something_that_edgepose_needs(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    found = _host_findings.opencv() if name == "cv2" else _finding.package(name, "x", needed=True)
    assert found.state == "broken"
    assert found.next


def test_a_crop_path_that_is_not_there_is_found(monkeypatch):
    monkeypatch.setenv("EDGEPOSE_CPU", "abacus")
    done = doctor("--json")
    assert done.returncode == 2
    (kernel,) = [f for f in json.loads(done.stdout) if f["what"] == "crop kernel"]
    assert "abacus" in kernel["found"]
    assert kernel["next"] == "unset EDGEPOSE_CPU"


@pytest.mark.parametrize(
    ("archs", "runtime", "driver_version", "words"),
    [
        ("80 87 90", 12060, 12060, None),
        ("80", 13000, 13010, None),  # code for 80 runs on 87
        ("75", 12060, 12020, None),  # by PTX, and within CUDA 12
        ("80 87", 13000, 12060, ("driver is too old", "build with the CUDA toolkit 12.6")),
        ("90", 12060, 12060, ("not for 87", "EDGEPOSE_CUDA_ARCHS=87")),
    ],
)
def test_whether_the_kernels_run_here(monkeypatch, archs, runtime, driver_version, words):
    module = SimpleNamespace(ARCHITECTURES=archs, versions=lambda: (runtime, driver_version))
    monkeypatch.setattr(native, "_cuda", module)
    finding = _gpu_findings.kernels(ORIN)
    assert archs in finding.found
    assert (finding.state == "ok") == (words is None) == (finding.next == "")
    if words:
        assert words[0] in finding.found
        assert words[1] in finding.next


def test_kernels_that_are_not_built(monkeypatch):
    monkeypatch.setattr(native, "_cuda", None)
    assert "EDGEPOSE_CUDA=1" in _gpu_findings.kernels(ORIN).next
    assert "only with a GPU" in _gpu_findings.kernels(Driver("", ())).next
