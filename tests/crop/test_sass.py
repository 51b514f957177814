"""What the assembler makes of the CUDA kernels; ``make sass`` shows it for all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sass

import cuda_build

pytestmark = pytest.mark.skipif(cuda_build.find_nvcc() is None, reason="there is no nvcc here")


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, sass.__file__, "--arch", "87", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_kernels_between_networks_stay_in_registers_and_single_precision():
    done = run(str(sass.ROOT / "csrc" / "boxes_cuda.cu"))
    assert done.returncode == 0, done.stdout + done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert sorted(names) == ["square_kernel", "update_kernel"]


def test_double_precision_is_seen(tmp_path):
    source = tmp_path / "bad.cu"
    source.write_text(
        "__global__ void half_kernel(float* p) { p[0] *= 0.5f; }\n"
        "__global__ void tenth_kernel(float* p) { p[0] = (float)(p[0] + 0.1); }\n"
    )
    kernels = {k.name: k for k in sass.inspect(source, "87", cuda_build.find_nvcc())}
    assert kernels["half_kernel"].good
    assert kernels["tenth_kernel"].doubles > 0
    assert run(str(source)).returncode == 1


def test_spills_are_seen():
    log = (
        "ptxas info : Compiling entry function '_Z8bad_kernelv' for 'sm_87'\n"
        " 0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info : Used 255 registers, used 1 barriers, 1024 bytes smem\n"
    )
    (kernel,) = sass.read(log, ".visible .entry _Z8bad_kernelv()\n{\n\tret;\n}\n", "87")
    assert kernel == sass.Kernel("bad_kernel", "87", 255, 1024, 20, 0)
    assert not kernel.good


def test_a_source_that_does_not_compile(tmp_path):
    Path(tmp_path, "bad.cu").write_text("nonsense")
    with pytest.raises(RuntimeError, match="failed"):
        sass.inspect(tmp_path / "bad.cu", "87", cuda_build.find_nvcc())
