"""How the CUDA module is built, and what becomes of it where it cannot be."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution, Extension
from setuptools.errors import CompileError

import cuda_build
from edgepose.crop import native

NVCC = cuda_build.find_nvcc()


@pytest.mark.skipif(NVCC is None, reason="there is no nvcc here")
@pytest.mark.skipif(os.environ.get("EDGEPOSE_CUDA") == "0", reason="EDGEPOSE_CUDA is 0")
def test_every_architecture_was_compiled():
    assert native._cuda is not None, "nvcc is here, but the module was not built"
    assert native._cuda.ARCHITECTURES.split() == cuda_build.architectures(NVCC)
    library = Path(native._cuda.__file__).read_bytes()
    for arch in cuda_build.architectures(NVCC):
        assert f"sm_{arch}".encode() in library


@pytest.mark.skipif(native._cuda is None, reason="built without CUDA: no nvcc was found")
def test_the_runtime_is_linked_statically():
    needed = subprocess.run(
        ["ldd", native._cuda.__file__], capture_output=True, text=True, check=True
    ).stdout
    assert "libstdc++" in needed
    assert "cuda" not in needed.replace(native._cuda.__file__, "")


@pytest.fixture
def nvcc(tmp_path, monkeypatch):
    """Puts a script in nvcc's place."""

    def write(script: str) -> str:
        path = tmp_path / "bin" / "nvcc"
        path.parent.mkdir()
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        monkeypatch.setenv("CUDA_HOME", str(tmp_path))
        return str(path)

    return write


LISTS = "if [ $1 = --list-gpu-code ]; then printf 'sm_75\\nsm_90\\nsm_87\\nsm_999\\n'; exit; fi\n"


def test_architectures(nvcc, monkeypatch):
    path = nvcc(LISTS)
    assert cuda_build.find_nvcc() == path
    monkeypatch.delenv("EDGEPOSE_CUDA_ARCHS", raising=False)
    every = ["75", "87", "90"]
    for present, archs in (([], every), (["87"], ["87"]), (["87", "87"], ["87"]), (["61"], every)):
        monkeypatch.setattr(cuda_build, "present_architectures", lambda found=present: found)
        assert cuda_build.architectures(path) == archs
    choices = {"87": ["87"], "90,sm_75": ["75", "90"], "999 75": ["75", "999"], "all": every}
    for asked, archs in choices.items():
        monkeypatch.setenv("EDGEPOSE_CUDA_ARCHS", asked)
        assert cuda_build.architectures(path) == archs
    for asked in ("", "60", "75,9x"):
        monkeypatch.setenv("EDGEPOSE_CUDA_ARCHS", asked)
        with pytest.raises(cuda_build.CudaBuildError, match="EDGEPOSE_CUDA_ARCHS"):
            cuda_build.architectures(path)


def test_the_architectures_of_the_gpus_here(monkeypatch):
    class Driver:
        """An Orin and an H100."""

        capabilities = ((8, 7), (9, 0))
        status = 0

        def cuInit(self, _):
            return self.status

        def cuDeviceGetCount(self, count):
            count._obj.value = len(self.capabilities)
            return 0

        def cuDeviceGetAttribute(self, value, attribute, device):
            value._obj.value = self.capabilities[device][attribute - 75]
            return 0

    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda_build.present_architectures() == ["87", "90"]
    driver.status = 100
    assert cuda_build.present_architectures() == []


def test_the_last_architecture_comes_as_ptx_too():
    codes = [word for word in cuda_build.options(["75", "90"]) if word.startswith("-gencode")]
    assert codes == [
        "-gencode=arch=compute_75,code=sm_75",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]


def test_kernels_are_compiled_once_for_all_pythons(nvcc, tmp_path, monkeypatch):
    """The script notes what it is called with and makes the file that is asked for."""
    calls = tmp_path / "calls"
    path = nvcc(f'echo "$@" >> {calls}; while [ $1 != -o ]; do shift || exit 0; done; touch $2')
    monkeypatch.setattr(cuda_build, "ROOT", tmp_path)
    (tmp_path / "csrc").mkdir()
    for source in (*cuda_build.KERNELS, *cuda_build.DEPENDS):
        (tmp_path / source).touch()
    first = cuda_build.kernels(path, ["90"])
    assert [Path(o).name for o in first] == ["boxes_cuda.o", "crop_cuda.o"]
    assert cuda_build.kernels(path, ["90"]) == first
    assert calls.read_text().count(" -c ") == 2
    (tmp_path / cuda_build.KERNELS[0]).write_text("changed")
    assert cuda_build.kernels(path, ["90"]) != first
    assert cuda_build.kernels(path, ["75"]) != first
    assert calls.read_text().count(" -c ") == 6


def test_a_wheel_has_no_host_module(tmp_path):
    """It is for the tests, so it is built in place only."""
    names = {}
    for inplace in (False, True):
        modules = [Extension(name, []) for name in ("edgepose._core", cuda_build.HOST)]
        command = cuda_build.BuildExtensions(Distribution({"ext_modules": modules}))
        command.inplace = inplace
        command.ensure_finalized()
        names[inplace] = [ext.name for ext in command.extensions]
    assert names == {False: ["edgepose._core"], True: ["edgepose._core", cuda_build.HOST]}


def test_a_broken_toolkit_is_told(nvcc, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("EDGEPOSE_CUDA_ARCHS", raising=False)
    with pytest.raises(cuda_build.CudaBuildError, match="does not run"):
        cuda_build.architectures(nvcc("exit 1"))
    Path(cuda_build.find_nvcc()).write_text("#!/bin/sh\n" + LISTS + "echo no cicc >&2; exit 1")
    with pytest.raises(cuda_build.CudaBuildError, match="EDGEPOSE_CUDA=0"):
        cuda_build.build(str(tmp_path / "out.so"), [])
    assert "no cicc" in capfd.readouterr().err


@pytest.mark.parametrize("mode", ["auto", "1"])
def test_a_broken_toolkit_is_a_warning_or_an_error(
    nvcc, tmp_path, monkeypatch, caplog, capfd, mode
):
    nvcc(LISTS + "exit 1")
    monkeypatch.setenv("EDGEPOSE_CUDA", mode)
    monkeypatch.delenv("EDGEPOSE_CUDA_ARCHS", raising=False)
    monkeypatch.setattr(cuda_build, "header_folders", list)
    command = cuda_build.BuildExtensions(Distribution({"ext_modules": cuda_build.extensions()}))
    command.build_lib = command.build_temp = str(tmp_path)
    command.ensure_finalized()
    if mode == "1":
        with pytest.raises(CompileError, match="EDGEPOSE_CUDA=0"):
            command.run()
    else:
        command.run()
        assert "EDGEPOSE_CUDA=0" in caplog.text + "".join(capfd.readouterr())
    assert not list(tmp_path.rglob("*.so"))


def test_no_nvcc(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert cuda_build.find_nvcc() is None
    with pytest.raises(cuda_build.CudaBuildError, match="no nvcc"):
        cuda_build.build("out.so", [])
    monkeypatch.setenv("EDGEPOSE_CUDA", "auto")
    assert cuda_build.extensions() == []
    monkeypatch.setenv("EDGEPOSE_CUDA", "1")
    (extension,) = cuda_build.extensions()
    assert not extension.optional


def test_the_mode(monkeypatch):
    for value in ("0", "1", "auto"):
        monkeypatch.setenv("EDGEPOSE_CUDA", value)
        assert cuda_build.mode() == value
    monkeypatch.setenv("EDGEPOSE_CUDA", "0")
    assert cuda_build.extensions() == []
    monkeypatch.setenv("EDGEPOSE_CUDA", "yes")
    with pytest.raises(cuda_build.CudaBuildError, match="EDGEPOSE_CUDA must be"):
        cuda_build.mode()


CROSS = shutil.which("aarch64-linux-gnu-g++") or ""


def test_another_machine_s_module_needs_its_runtime_and_its_compiler(nvcc, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    path = nvcc('echo "#$ TOP=$CUDA_HOME" >&2\n')
    monkeypatch.delenv("EDGEPOSE_CUDART", raising=False)
    assert cuda_build.cross(path) == ([], ["-cudart=static"])
    runtime = tmp_path / "libcudart_static.a"
    monkeypatch.setenv("EDGEPOSE_CUDART", str(runtime))
    monkeypatch.setenv("NVCC_CCBIN", "/bin/sh")
    with pytest.raises(cuda_build.CudaBuildError, match="needs a library of that name"):
        cuda_build.cross(path)
    runtime.touch()
    monkeypatch.setenv("NVCC_CCBIN", "no-such-compiler")
    with pytest.raises(cuda_build.CudaBuildError, match="'no-such-compiler', the compiler of its"):
        cuda_build.cross(path)
    monkeypatch.setenv("NVCC_CCBIN", "/bin/sh")
    with pytest.raises(cuda_build.CudaBuildError, match="no headers of CUDA"):
        cuda_build.cross(path)
    headers = tmp_path / "targets" / "x86_64-linux" / "include"
    headers.mkdir(parents=True)
    (headers / "cuda_runtime_api.h").touch()
    included, linked = cuda_build.cross(path)
    assert included == [f"-isystem={headers}"]
    assert linked[:2] == ["-cudart=none", str(runtime)]


@pytest.mark.skipif(NVCC is None or not CROSS, reason="no nvcc or no cross-compiler here")
def test_kernels_compile_for_aarch64(tmp_path, monkeypatch):
    """By nvcc with the other machine's compiler, as ``release/wheels.py --aarch64`` does."""
    runtime = tmp_path / "libcudart_static.a"
    runtime.touch()
    monkeypatch.setenv("EDGEPOSE_CUDART", str(runtime))
    monkeypatch.setenv("NVCC_CCBIN", CROSS)
    headers, _ = cuda_build.cross(NVCC)
    made = tmp_path / "boxes.o"
    source = str(cuda_build.ROOT / "csrc" / "boxes_cuda.cu")
    cuda_build.call([NVCC, *cuda_build.options(["87"]), *headers, "-c", source, "-o", str(made)])
    assert int.from_bytes(made.read_bytes()[18:20], "little") == 183  # EM_AARCH64
