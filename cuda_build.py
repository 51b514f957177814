"""Builds edgepose._cuda with nvcc: for setup.py, and for ``python cuda_build.py`` by itself.

``EDGEPOSE_CUDA``        0: leave it out; 1: it must build; auto (default): built where nvcc is
                         found, and left out with a warning where that fails.
``EDGEPOSE_CUDA_ARCHS``  compute capabilities, such as "87" or "80,90", or "all": those of
                         ``DEFAULT_ARCHITECTURES`` that nvcc knows; default: those of the GPUs in
                         this machine, or all where there is none. The last one also comes as PTX,
                         for GPUs newer than this compiler.
``CUDA_HOME``            where nvcc is, if not on PATH or in /usr/local/cuda.
``EDGEPOSE_CUDART``      the libcudart_static.a of another machine than this, to build for that one;
                         its compiler is what nvcc is told by ``NVCC_CCBIN``.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

NAME = "edgepose._cuda"
HOST = "edgepose._host"
ROOT = Path(__file__).resolve().parent
KERNELS = ["csrc/boxes_cuda.cu", "csrc/crop_cuda.cu"]
BINDINGS = [
    "csrc/cuda_bindings.cpp",
    "csrc/cuda_device.cpp",
    "csrc/cuda_graph.cpp",
    "csrc/dlpack.cpp",
]
SOURCES = [*KERNELS, *BINDINGS]
DEPENDS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob("*.h"))
DEFAULT_ARCHITECTURES = ("75", "80", "86", "87", "89", "90", "100", "110", "120")


class CudaBuildError(Exception):
    """The module cannot be built; the message says why and what to do."""


def mode() -> str:
    """Return ``EDGEPOSE_CUDA``: "0", "1" or "auto"."""
    value = os.environ.get("EDGEPOSE_CUDA", "auto")
    if value not in ("0", "1", "auto"):
        raise CudaBuildError(f"EDGEPOSE_CUDA must be 0, 1 or auto, not {value!r}.")
    return value


def find_nvcc() -> str | None:
    """Return the path of nvcc, or None."""
    home = os.environ.get("CUDA_HOME")
    places = [str(Path(home, "bin"))] if home else [None, "/usr/local/cuda/bin"]
    return next((found for place in places if (found := shutil.which("nvcc", path=place))), None)


def architectures(nvcc: str) -> list[str]:
    """Return the compute capabilities to build for, ascending."""
    listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=False)
    known = re.findall(r"sm_(\d+)\b", listed.stdout)
    if listed.returncode != 0 or not known:
        raise CudaBuildError(f"{nvcc} does not run: {listed.stderr.strip() or 'no output'}")
    asked = os.environ.get("EDGEPOSE_CUDA_ARCHS")
    present = present_architectures()
    if asked is None and present and all(arch in known for arch in present):
        chosen = present
    elif asked in (None, "all"):
        chosen = [arch for arch in DEFAULT_ARCHITECTURES if arch in known]
    else:
        chosen = asked.replace(",", " ").replace("sm_", "").split()
        unknown = [arch for arch in chosen if arch not in known]
        if unknown or not chosen:
            raise CudaBuildError(
                f"EDGEPOSE_CUDA_ARCHS is {asked!r}, but this nvcc knows {' '.join(known)}."
            )
    return sorted(set(chosen), key=int)


def present_architectures() -> list[str]:
    """Return the compute capabilities of this machine's GPUs, by their driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    found = []
    for device in range(count.value):
        sides = [ctypes.c_int(0), ctypes.c_int(0)]
        for side, attribute in zip(sides, (75, 76), strict=True):  # compute capability x.y
            if driver.cuDeviceGetAttribute(ctypes.byref(side), attribute, device) != 0:
                return []
        found.append(f"{sides[0].value}{sides[1].value}")
    return found


def cross(nvcc: str) -> tuple[list[str], list[str]]:
    """Return what nvcc is given for CUDA's headers and for its runtime.

    Nothing but the static runtime on the machine that the module is for. For another one nvcc looks
    where this toolkit has nothing: the headers are the same on all, the runtime is named.
    """
    runtime = os.environ.get("EDGEPOSE_CUDART")
    if not runtime:
        return [], ["-cudart=static"]
    compiler = os.environ.get("NVCC_CCBIN", "")
    if not Path(runtime).is_file() or not shutil.which(compiler):
        raise CudaBuildError(
            f"EDGEPOSE_CUDART={runtime} needs a library of that name, and NVCC_CCBIN, which is "
            f"{compiler!r}, the compiler of its machine."
        )
    told = subprocess.run(
        [nvcc, "-dryrun", "-E", str(ROOT / KERNELS[0])], capture_output=True, text=True, check=False
    )
    top = re.search(r"^#\$ TOP=(.*)$", told.stderr, re.MULTILINE)
    if top is None:
        raise CudaBuildError(f"{nvcc} does not say where its toolkit is: {told.stderr.strip()}")
    headers = [f"-isystem={folder}" for folder in include_folders(Path(top[1]))]
    return headers, ["-cudart=none", runtime, "-lrt", "-lpthread", "-ldl"]


def include_folders(top: Path) -> list[Path]:
    """Return the folder of a toolkit's headers, in the layouts that toolkits have."""
    places = (top / "include", *sorted(top.glob("targets/*/include")))
    found = [place.resolve() for place in places if (place / "cuda_runtime_api.h").exists()]
    if not found:
        raise CudaBuildError(f"There are no headers of CUDA in {top}; install them.")
    return found[:1]


def options(archs: Sequence[str]) -> list[str]:
    """Return what every call of nvcc is given: language, optimisation, architectures, warnings."""
    warnings = ["-Wall", "-Wextra", "-Wconversion"]
    if os.environ.get("EDGEPOSE_WERROR") == "1":
        warnings.append("-Werror")
    code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in archs]
    code.append(f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}")
    return [
        "-std=c++17",
        "-O3",
        "-lineinfo",  # sanitizer and profiler name lines; costs nothing at run time
        "--threads=0",
        *code,
        *(f"-Xcompiler={flag}" for flag in ("-fPIC", "-fvisibility=hidden", *warnings)),
        f'-DEDGEPOSE_CUDA_ARCHS="{" ".join(archs)}"',
        f"-I{ROOT / 'csrc'}",
    ]


def kernels(nvcc: str, archs: Sequence[str]) -> list[str]:
    """Compile the kernels and return their object files.

    They know nothing of Python, so one compilation serves every version of it: the objects stay in
    ``build/cuda``, under the hash of all that goes into them.
    """
    headers, _ = cross(nvcc)
    given = [*options(archs), *headers]
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
    compiler = os.environ.get("NVCC_CCBIN")
    digest = hashlib.sha256(repr((given, version.stdout, compiler)).encode())
    for source in (*KERNELS, *DEPENDS):
        digest.update((ROOT / source).read_bytes())
    folder = ROOT / "build" / "cuda" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in KERNELS:
        made = folder / f"{Path(source).stem}.o"
        if not made.exists():
            part = folder / f"{made.stem}.{os.getpid()}.o"
            call([nvcc, *given, "-c", str(ROOT / source), "-o", str(part)])
            part.replace(made)
        objects.append(str(made))
    return objects


def call(line: Sequence[str]) -> None:
    """Run nvcc and pass on what it says; CudaBuildError if it fails."""
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stdout + done.stderr)
    if done.returncode != 0:
        raise CudaBuildError(
            f"{line[0]} failed, see above; mend the toolkit or leave CUDA out with EDGEPOSE_CUDA=0."
        )


def build(out: str, includes: Sequence[str]) -> None:
    """Build the module, linked statically to CUDA's runtime.

    Args:
        out: the file to write.
        includes: folders with the headers of Python and pybind11.

    Raises:
        CudaBuildError: there is no nvcc, or it fails.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        raise CudaBuildError("There is no nvcc: install the CUDA toolkit or set CUDA_HOME.")
    archs = architectures(nvcc)
    headers, runtime = cross(nvcc)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    call(
        [
            nvcc,
            *options(archs),
            "-shared",
            "-Xlinker=--exclude-libs=ALL",
            *headers,
            *(f"-isystem={path}" for path in includes),
            *(str(ROOT / source) for source in BINDINGS),
            *kernels(nvcc, archs),
            *runtime,
            "-o",
            out,
        ]
    )


def header_folders() -> list[str]:
    """Return the folders of Python's headers and pybind11's; PyTorch ships those too."""
    try:
        import pybind11

        binding = pybind11.get_include()
    except ImportError:
        try:
            import torch  # on a machine that has only its runtime
        except ImportError:
            raise CudaBuildError("There is no pybind11: pip install pybind11.") from None
        binding = str(Path(torch.__file__).parent / "include")
    return [sysconfig.get_paths()["include"], binding]


def extensions() -> list[Extension]:
    """Return the module for ``setup``, or nothing where it is not wanted or there is no nvcc."""
    wanted = mode()
    if wanted == "0" or (wanted == "auto" and find_nvcc() is None):
        return []
    # Optional: a failure is a warning.
    return [Extension(NAME, SOURCES, depends=DEPENDS, optional=wanted == "auto")]


class BuildExtensions(build_ext):
    """setuptools' command, with nvcc for the one module that needs it.

    ``edgepose._host`` is for work on edgepose: a wheel has none.
    """

    def finalize_options(self) -> None:
        """Leave out what a wheel does not carry."""
        super().finalize_options()
        if not self.inplace and not getattr(self, "editable_mode", False):
            self.extensions = [ext for ext in self.extensions if ext.name != HOST]

    def build_extension(self, ext: Extension) -> None:
        """Build one module."""
        try:
            headers = header_folders()
            if ext.name != NAME:
                ext.extra_compile_args += [f"-isystem{path}" for path in headers]
                super().build_extension(ext)
                return
            build(self.get_ext_fullpath(ext.name), headers)
        except CudaBuildError as error:
            raise CompileError(str(error)) from None


if __name__ == "__main__":
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    target = ROOT / "edgepose" / f"_cuda{suffix}"
    try:
        build(str(target), header_folders())
    except CudaBuildError as error:
        sys.exit(str(error))
