"""``benchmarks/gpu.sh`` and its program, as far as they go without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gpu_bench
import numpy as np
import pytest
from gpu_driver import Driver, NoGpuError

from edgepose import _host
from edgepose.crop import cuda, native, reference, reference_nv12
from edgepose.crop.normalisation import normalisation
from tests.crop import cuda_host

SCRIPT = Path(gpu_bench.__file__).with_name("gpu.sh")


def no_gpu() -> bool:
    try:
        Driver()
    except NoGpuError:
        return True
    return False


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU here")
def test_without_a_gpu_the_script_says_so(tmp_path):
    pytest.importorskip("torch")
    done = script(str(tmp_path / "new" / "gpu.json"))
    assert done.returncode == 2
    assert "GPU" in done.stderr or "driver" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_bad_arguments_of_the_script(tmp_path):
    for arguments in (["one.json", "two.json"], ["--help"]):
        done = script(*arguments)
        assert done.returncode == 2
        assert "usage" in done.stderr
    done = script(str(tmp_path / "gpu.json"), PYTHON="false")
    assert done.returncode == 2
    assert "PYTHON" in done.stderr


class NumpyBench:
    """Times nothing, and runs the definition in the kernel's place."""

    def __init__(self):
        self.cuda = SimpleNamespace(crop=self.crop, NV12=cuda.NV12)
        self.stream = 0
        self.copies = 0

    def crop(self, frame, boxes, size, *, dtype, out, stream):
        assert out.dtype == dtype
        index = np.zeros(len(boxes), np.int64)
        plain = normalisation()
        if isinstance(frame, cuda.NV12):
            planes = [(frame.y, frame.uv)]
            reference_nv12.crop(planes, boxes, index, out, plain, True, frame.standard)
        else:
            reference.crop([frame], boxes, index, out, plain, True)
        return out

    def upload(self, array):
        return array

    def download(self, array):
        return np.asarray(array)

    def empty(self, shape, dtype):
        return np.full(shape, np.nan, dtype)

    def seconds(self, work, repeats):
        work()
        return 1e-3

    def host_seconds(self, work, repeats):
        return 1e-4

    def copy(self):
        return lambda: None

    def launch_nothing(self):
        pass

    def peers(self, image, boxes, size):
        return iter(())


@pytest.fixture
def small_frame(monkeypatch):
    monkeypatch.setattr(gpu_bench, "HEIGHT", 60)
    monkeypatch.setattr(gpu_bench, "WIDTH", 80)


def test_timings_and_goals(small_frame):
    timed = gpu_bench.timings(NumpyBench(), counts=(14, 1400), sizes=(4,), ratios=(1.0, 2.0))
    assert len(timed["rows"]) == 12
    assert sum(row["what"] == "edgepose NV12" for row in timed["rows"]) == 4
    assert {row["dtype"] for row in timed["rows"]} == {"float32", "float16"}
    copied = 2 * gpu_bench.COPY_BYTES / 1e-3
    for row in timed["rows"]:
        outputs = row["boxes"] * 3 * 16 * (4 if row["dtype"] == "float32" else 2)
        source = 60 * 80 * (1.5 if "NV12" in row["what"] else 3)
        assert outputs < row["bytes"] <= outputs + source + 16 * row["boxes"]
        assert row["share_of_copy"] == pytest.approx(row["bytes"] / 1e-3 / copied)
        assert row["times_empty_launch"] == pytest.approx(1)
    goals = gpu_bench.goals(timed)
    assert goals["times_empty_launch_at_14"]["most"] == pytest.approx(1)
    assert goals["share_of_copy_at_1400"]["least"] < 0.7
    assert not goals["met"]
    for row in timed["rows"]:
        row["share_of_copy"] = 0.71
    assert gpu_bench.goals(timed)["met"]
    assert gpu_bench.table(timed).count("edgepose") == 12
    json.dumps(timed)


def test_a_wrong_result_is_not_timed(small_frame, monkeypatch):
    bench = NumpyBench()
    monkeypatch.setattr(bench, "download", lambda array: array + np.float32(0.1))
    with pytest.raises(AssertionError, match=r"off by 0\.1"):
        gpu_bench.timings(bench, counts=(14,), sizes=(4,), ratios=(1.0,))


def test_the_peers_make_the_same_crops(small_frame):
    torch = pytest.importorskip("torch")
    bench = gpu_bench.TorchBench.__new__(gpu_bench.TorchBench)
    bench.torch, bench.device = torch, torch.device("cpu")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for ratio in (0.5, 1.0):
        boxes = np.floor(gpu_bench.frame_boxes(9, ratio * 16, rng))
        results = dict(bench.peers(bench.upload(image), boxes, 16))
        got = bench.download(results["torch grid_sample"]())
        gpu_bench.check(image, boxes, 16, np.float32, got, allowed=0.2, edge=1)
        assert results["torch interpolate"]().shape == (9, 3, 16, 16)
    np.testing.assert_allclose(results["torch interpolate"](), got, atol=0.01)  # r = 1


def test_parity_tells_right_from_wrong(monkeypatch):
    """On the kernel's host build; a GPU's result is judged by the same lines."""
    host = cuda_host.HostCuda(_host)
    monkeypatch.setattr(native, "_cuda", host)

    def download(array):
        return array.owner

    result = gpu_bench.parity(300, cuda_host.upload, download)
    assert result["passed"]
    assert 0 < result["worst_error_in_tolerances"]["float16"] <= 1
    result = gpu_bench.parity(300, cuda_host.upload, lambda array: array.owner * np.float16(1.01))
    assert not result["passed"]
    monkeypatch.setattr(host, "crop", lambda *_: None)  # leaves the poison in place
    result = gpu_bench.parity(50, cuda_host.upload, download)
    assert result["worst_error_in_tolerances"]["float32"] == np.inf


def test_sanitizers_are_believed_only_with_their_summary(monkeypatch, tmp_path):
    program = tmp_path / "compute-sanitizer"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    summary = "========= ERROR SUMMARY: 0 errors"
    for text, code, passed in ((summary, 0, True), (summary, 9, False), ("killed", 0, False)):
        program.write_text(f"#!/bin/sh\necho {text}\nexit {code}\n")
        program.chmod(0o755)
        result = gpu_bench.sanitize("memcheck", 50)
        assert result["passed"] is passed
        assert text in result["summary"]


def test_the_report(monkeypatch, small_frame):
    parity = {"boxes": 10, "worst_error_in_tolerances": {}, "passed": True}
    timed = gpu_bench.timings(NumpyBench(), counts=(14,), sizes=(4,), ratios=(1.0,))
    monkeypatch.setattr(gpu_bench, "parity", lambda *_: parity)
    monkeypatch.setattr(gpu_bench, "timings", lambda _: timed)
    monkeypatch.setattr(native, "_cuda", SimpleNamespace(ARCHITECTURES="90"))
    for clean in (True, False):
        monkeypatch.setattr(gpu_bench, "sanitize", lambda *_, clean=clean: {"passed": clean})
        result = gpu_bench.report(10, 10, SimpleNamespace(download=None), NumpyBench())
        assert list(result) == ["machine", "parity", "sanitizer", "timings", "goals", "passed"]
        assert list(result["sanitizer"]) == ["memcheck", "racecheck"]
        assert result["passed"] is clean
        assert {"gpu", "cpu", "system", "python", "numpy", "torch"} < set(result["machine"])
        json.dumps(result)
