"""The CUDA kernels' source on the host, in the place of ``edgepose._cuda``.

As a program, ``python cuda_host.py MODULE COUNT`` with ``benchmarks`` on the path: hold the crops
of ``edgepose._host`` as built into the file MODULE to the definition over COUNT boxes; built for
them, sanitizers then watch every access.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import gpu_cases
import numpy as np

import cuda_build
from edgepose.crop import cuda, native

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def compile_module(folder: Path, *flags: str) -> Path:
    """Build ``edgepose._host`` with g++, the kernels with ``flags``."""
    csrc = ROOT / "csrc"
    command = ["g++", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-DEDGEPOSE_CUDA_ON_HOST"]
    command += [f"-I{csrc}", *(f"-isystem{path}" for path in cuda_build.header_folders())]
    bindings = folder / "bindings.o"  # without the flags, which they would take a minute with
    source = str(csrc / "host_bindings.cpp")
    subprocess.run([*command, "-c", source, "-o", str(bindings)], check=True)
    module = folder / "_host.so"
    kernels = [str(path) for path in sorted(csrc.glob("*_host.cpp"))]
    subprocess.run(
        [*command, *flags, "-shared", str(bindings), *kernels, "-o", str(module)], check=True
    )
    return module


def load_module(path: Path) -> ModuleType:
    """Import ``edgepose._host`` from a file."""
    spec = importlib.util.spec_from_file_location("edgepose._host", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["edgepose._host"] = module
    spec.loader.exec_module(module)
    return module


class HostMemory:
    def __init__(self, bytes: int, device: int, stream: int, owner: object = None) -> None:
        self.bytes = np.full(bytes, 255, np.uint8)  # NaN, so that a hole shows
        self.pointer = self.bytes.ctypes.data
        self.owner = owner


class HostCuda:
    """What ``edgepose._cuda`` offers, on host pointers: the kernels of ``edgepose._host``."""

    Memory = HostMemory

    def __init__(self, kernels: ModuleType) -> None:
        self._kernels = kernels
        self.waited: list[tuple[int, int, int]] = []
        self.launches = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._kernels, name)

    def device_count(self) -> int:
        return 1

    def device_of(self, pointer: int) -> int:
        return 0

    def capturing(self, device: int, stream: int) -> bool:
        return False

    def wait(self, device: int, stream: int, producer: int) -> None:
        self.waited.append((device, stream, producer))

    def crop(self, *arguments: object) -> None:
        self.launches += 1
        self._kernels.crop(*arguments)


def upload(array: np.ndarray) -> object:
    """The array as if it lay on a device."""
    return cuda.DeviceArray(array.ctypes.data, array.shape, array.dtype, array.strides, array)


def download(result: object) -> np.ndarray:
    memory = np.frombuffer(result.owner.bytes, result.dtype)
    return memory[: int(np.prod(result.shape))].reshape(result.shape)


def parity(count: int, seed: int = 0) -> list[float]:
    """Each case's error in tolerances, ``edgepose.crop.native._cuda`` being a ``HostCuda``."""
    return [
        gpu_cases.error(case, download(gpu_cases.run(case, upload)), gpu_cases.expected(case))
        for case in gpu_cases.cases(count, seed)
    ]


if __name__ == "__main__":
    native._cuda = HostCuda(load_module(Path(sys.argv[1])))
    worst = max(parity(int(sys.argv[2])))
    sys.stdout.write(f"{worst:.3g}\n")
    sys.exit(0 if worst <= 1 else 1)
