"""The CUDA kernels' source on the host under AddressSanitizer and UndefinedBehaviorSanitizer.

``python -m tests.sanitized [PYTEST-ARGUMENT…]`` (``make sanitize``) runs tests with such an
``edgepose._host``: every access of a kernel is watched, whoever calls it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cuda_build

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MODULE = "EDGEPOSE_HOST_MODULE"  # names the file that stands for edgepose._host


def build() -> Path:
    """Build the module with g++, unless these sources have been built before."""
    csrc = ROOT / "csrc"
    kernels = sorted(csrc.glob("*_host.cpp"))
    sources = [csrc / "host_bindings.cpp", *kernels, *csrc.glob("*.cu"), *csrc.glob("*.h")]
    digest = hashlib.sha256(" ".join([*FLAGS, sys.version]).encode())
    for path in sorted(sources):
        digest.update(path.read_bytes())
    module = ROOT / "build" / "sanitized" / digest.hexdigest()[:16] / "_host.so"
    if module.exists():
        return module
    module.parent.mkdir(parents=True, exist_ok=True)
    command = ["g++", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-DEDGEPOSE_CUDA_ON_HOST"]
    command += [f"-I{csrc}", *(f"-isystem{path}" for path in cuda_build.header_folders())]
    bindings = str(module.with_suffix(".o"))  # not sanitized, which would take it a minute
    subprocess.run([*command, "-c", str(csrc / "host_bindings.cpp"), "-o", bindings], check=True)
    part = module.with_suffix(".part")
    command += [*FLAGS, "-shared", bindings, *map(str, kernels), "-o", str(part)]
    subprocess.run(command, check=True)
    part.replace(module)
    return module


def environment() -> dict[str, str]:
    """What a process needs to load the module: the sanitizers' runtimes have to come first."""
    runtimes = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "benchmarks"))),
        MODULE: str(build()),
    }


def load() -> None:
    """Import ``edgepose._host`` from the file that the environment names, if it names one."""
    path = os.environ.get(MODULE)
    if path is None:
        return
    import edgepose

    spec = importlib.util.spec_from_file_location("edgepose._host", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["edgepose._host"] = module
    edgepose._host = module  # type: ignore[attr-defined]


if __name__ == "__main__":
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]]
    sys.exit(subprocess.run(command, env=environment(), cwd=ROOT, check=False).returncode)
