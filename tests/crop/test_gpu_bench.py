"""``benchmarks/gpu.sh`` and its programs, as far as they go without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gpu_bench
import gpu_boxes
import gpu_cases
import gpu_crop
import gpu_device
import gpu_steps
import numpy as np
import pytest
from gpu_device import Mover, NoGpuError, require_gpu
from gpu_peers import TorchPeers
from gpu_steps import Step

from edgepose import _host
from edgepose.crop import cuda, native, reference, reference_nv12
from edgepose.crop.normalisation import normalisation
from edgepose.cuda.host import HostDevice
from tests.crop import cuda_host

SCRIPT = Path(gpu_bench.__file__).with_name("gpu.sh")


def no_gpu() -> bool:
    try:
        require_gpu()
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
    done = script(str(tmp_path / "new" / "gpu.json"))
    assert done.returncode == 2
    assert "GPU" in done.stderr or "driver" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_bad_arguments_of_the_script(tmp_path):
    done = script("--help")
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


@pytest.fixture
def small_frame(monkeypatch):
    monkeypatch.setattr(gpu_crop, "HEIGHT", 60)
    monkeypatch.setattr(gpu_crop, "WIDTH", 80)


def test_timings_and_goals(small_frame):
    timed = gpu_crop.timings(NumpyBench(), None, counts=(14, 1400), sizes=(4,), ratios=(1.0, 2.0))
    assert len(timed["rows"]) == 12
    assert sum(row["what"] == "edgepose NV12" for row in timed["rows"]) == 4
    assert {row["dtype"] for row in timed["rows"]} == {"float32", "float16"}
    copied = 2 * gpu_crop.COPY_BYTES / 1e-3
    for row in timed["rows"]:
        outputs = row["boxes"] * 3 * 16 * (4 if row["dtype"] == "float32" else 2)
        source = 60 * 80 * (1.5 if "NV12" in row["what"] else 3)
        assert outputs < row["bytes"] <= outputs + source + 16 * row["boxes"]
        assert row["share_of_copy"] == pytest.approx(row["bytes"] / 1e-3 / copied)
        assert row["times_empty_launch"] == pytest.approx(1)
    goals = gpu_crop.goals(timed)
    assert goals["times_empty_launch_at_14"]["most"] == pytest.approx(1)
    assert goals["share_of_copy_at_1400"]["least"] < 0.7
    assert not goals["met"]
    for row in timed["rows"]:
        row["share_of_copy"] = 0.71
    assert gpu_crop.goals(timed)["met"]
    assert gpu_crop.table(timed).count("edgepose") == 12
    json.dumps(timed)


def test_a_wrong_result_is_not_timed(small_frame, monkeypatch):
    bench = NumpyBench()
    monkeypatch.setattr(bench, "download", lambda array: array + np.float32(0.1))
    with pytest.raises(AssertionError, match=r"off by 0\.1"):
        gpu_crop.timings(bench, None, counts=(14,), sizes=(4,), ratios=(1.0,))


def test_the_peers_make_the_same_crops(small_frame):
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    peers = TorchPeers(image, "cpu")
    for ratio in (0.5, 1.0):
        boxes = np.floor(gpu_crop.frame_boxes(9, ratio * 16, rng))
        results = dict(peers.ways(boxes, 16))
        got = peers.download(results["torch grid_sample"]())
        gpu_crop.check(image, boxes, 16, np.float32, got, allowed=0.2, edge=1)
        assert results["torch interpolate"]().shape == (9, 3, 16, 16)
    np.testing.assert_allclose(results["torch interpolate"](), got, atol=0.01)  # r = 1


def test_parity_tells_right_from_wrong(monkeypatch):
    """On the kernel's host build; a GPU's result is judged by the same lines."""
    host = cuda_host.HostCuda(_host)
    monkeypatch.setattr(native, "_cuda", host)

    def download(array):
        return array.owner

    result = gpu_crop.parity(300, cuda_host.upload, download)
    assert result["passed"]
    assert 0 < result["worst_error_in_tolerances"]["float16"] <= 1
    result = gpu_crop.parity(300, cuda_host.upload, lambda array: array.owner * np.float16(1.01))
    assert not result["passed"]
    monkeypatch.setattr(host, "crop", lambda *_: None)  # leaves the poison in place
    result = gpu_crop.parity(50, cuda_host.upload, download)
    assert result["worst_error_in_tolerances"]["float32"] == np.inf


def test_parity_of_boxes():
    def download(array):
        return array.owner

    result = gpu_boxes.parity(_host, cuda_host.upload, download)
    assert result["passed"]
    assert 0 <= result["worst_error_in_tolerances"] <= 1
    off = gpu_boxes.parity(_host, cuda_host.upload, lambda array: array.owner * np.float32(1.001))
    assert not off["passed"]


def test_sanitizers_are_believed_only_with_their_summary():
    summary = "========= ERROR SUMMARY: 0 errors"
    assert gpu_bench.judge_sanitizer(0, f"x\n{summary}\n") == {"passed": True, "summary": summary}
    assert gpu_bench.judge_sanitizer(9, summary)["passed"] is False
    refused = gpu_bench.judge_sanitizer(1, "Device not supported")
    assert refused["passed"] is None
    assert "not supported" in refused["output"]


def child(code: str) -> list[str]:
    return [sys.executable, "-c", f"from gpu_steps import give_result\n{code}"]


@pytest.fixture
def on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parent))


def test_a_step_that_fails_crashes_or_hangs_costs_itself_only(tmp_path, on_path):
    out = tmp_path / "gpu.json"
    hang = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    steps = [
        Step("good", child("give_result({'passed': True, 'value': 3})"), 30),
        Step("bad", child("give_result({'passed': False, 'worst': 2.5})"), 30),
        Step("raises", child("raise AssertionError('a result is off')"), 30),
        Step("crash", child("import os; os.abort()"), 30),
        Step("late crash", child("give_result({'passed': True}); import os; os._exit(7)"), 30),
        Step("silent", child("pass"), 30),
        Step("hang", child(hang), 1),
        Step("refused", child("print('no')"), 30, lambda code, text: {"passed": None}),
        Step("last", child("give_result({'passed': True})"), 30),
    ]
    said, seen = [], []

    def finish(done):
        if out.exists():
            seen.append(json.loads(out.read_text()))
        return {"names": list(done)}

    begin = time.perf_counter()
    assert not gpu_steps.run_steps(steps, out, {"machine": {"gpu": "x"}}, said.append, finish)
    assert time.perf_counter() - begin < 50
    report = json.loads(out.read_text())
    assert report["complete"]
    assert not report["passed"]
    found = report["steps"]
    assert list(found) == report["names"] == [step.name for step in steps]
    verdicts = [found[step.name]["passed"] for step in steps]
    assert verdicts == [True, False, False, False, False, False, False, None, True]
    assert found["good"]["value"] == 3
    assert found["bad"]["worst"] == 2.5
    assert "a result is off" in found["raises"]["output"]
    assert found["crash"]["error"] == "it ended with signal 6"
    assert found["late crash"]["error"] == "it ended with exit code 7"
    assert "more than 1 s" in found["hang"]["error"]
    assert "hang: FAILED" in "\n".join(said)
    # The JSON was there before the first step and after each.
    assert [len(report["steps"]) for report in seen] == list(range(len(steps)))
    assert not any(report["complete"] for report in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]


def test_a_step_that_could_not_be_done_is_no_fault(tmp_path, on_path):
    steps = [Step("refused", child("print('no')"), 30, gpu_bench.judge_sanitizer)]
    assert gpu_steps.run_steps(steps, tmp_path / "a.json", {}, lambda _: None)
    assert json.loads((tmp_path / "a.json").read_text())["passed"]


def test_the_table_of_steps():
    names = [step.name for step in gpu_bench.steps()]
    assert names[:2] == ["parity", "boxes"]
    assert {"memcheck", "racecheck", "synccheck", "timings"} < set(names)
    assert len(set(names)) == len(names)
    for step in gpu_bench.steps():
        assert 0 < step.limit <= 300
        if step.command[-2:-1] == ["step"]:
            assert callable(gpu_bench.find(step.command[-1]))
    assert gpu_bench.find("gpu_crop:goals") is gpu_crop.goals


def test_the_report_names_machine_and_goals(small_frame):
    machine = gpu_bench.machine()
    assert {"gpu", "cpu", "system", "python", "numpy", "cuda"} < set(machine)
    timed = gpu_crop.timings(NumpyBench(), None, counts=(14,), sizes=(4,), ratios=(1.0,))
    assert set(gpu_bench.finish({"timings": timed})) == {"goals"}
    assert gpu_bench.finish({"timings": {"passed": False}}) == {}
    json.dumps(machine)


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU here")
def test_a_step_without_a_gpu_says_so(tmp_path, monkeypatch):
    """The whole way of a step: its process, its traceback in the JSON."""
    root = str(SCRIPT.parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, str(SCRIPT.parent)]))
    parity = gpu_bench.steps()[0]
    result = gpu_steps.run_step(parity)
    assert not result["passed"]
    assert "NoGpuError" in result["output"]


@pytest.mark.parametrize("name", ["parity", "boxes"])
def test_a_dry_step(name, monkeypatch):
    """The whole way of a step, on the device that is none."""
    root = str(SCRIPT.parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, str(SCRIPT.parent)]))
    monkeypatch.setenv("EDGEPOSE_DRY", "1")
    (step,) = [step for step in gpu_bench.steps() if step.name == name]
    result = gpu_steps.run_step(step)
    assert result["passed"], result


def test_timings_on_the_device_that_is_none(small_frame, monkeypatch):
    monkeypatch.setattr(native, "_cuda", cuda_host.HostCuda(_host))
    monkeypatch.setattr(gpu_crop, "COPY_BYTES", 1 << 10)
    timed = gpu_crop.timings(gpu_crop.Bench(HostDevice()), None, (3,), (8,), (1.0, 2.0))
    assert len(timed["rows"]) == 6
    assert timed["copy_bytes_per_s"] > 0


def test_arrays_keep_pitch_and_alignment():
    rng = np.random.default_rng(0)
    mover = Mover(HostDevice())
    for _ in range(20):
        image = gpu_cases.plane(rng, 5, 7, 3)
        there = mover.upload(image)
        assert there.pointer % 4 == image.ctypes.data % 4
        assert there.byte_strides == image.strides
        low, high = gpu_device.byte_bounds(image)
        size = high - low + low % 4
        memory = mover.device.memory.view(there.owner.pointer, (size,), np.uint8)
        offset = there.pointer - there.owner.pointer
        found = np.ndarray(image.shape, np.uint8, memory.data, offset, image.strides)
        np.testing.assert_array_equal(found, image)
