"""The CUDA kernel's source on the host, in the place of ``edgepose._cuda``.

As a program, ``python cuda_host.py LIBRARY COUNT`` with ``benchmarks`` on the path: hold it to the
definition over COUNT boxes; with the library built for them, sanitizers then watch every access.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import gpu_cases
import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def compile_library(folder: Path, *flags: str) -> Path:
    """Build the host library with g++."""
    library = folder / "libcuda_host.so"
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command = ["g++", "-std=c++17", "-fPIC", "-shared", *warnings, *flags, f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, str(HERE / "cuda_host.cpp"), "-o", str(library)], check=True)
    return library


class Frame(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("chroma", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("chroma_stride", ctypes.c_int64),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


class HostMemory:
    def __init__(self, bytes: int, device: int, stream: int) -> None:
        self.bytes = np.full(bytes, 255, np.uint8)  # NaN, so that a hole shows
        self.pointer = self.bytes.ctypes.data


class HostCuda:
    """What ``edgepose._cuda`` offers, on host pointers."""

    MAX_FRAMES = 64
    Memory = HostMemory

    def __init__(self, library: Path) -> None:
        self._crop = ctypes.CDLL(str(library)).crop_on_host
        self.waited: list[tuple[int, int, int]] = []
        self.launches = 0

    def device_count(self) -> int:
        return 1

    def device_of(self, pointer: int) -> int:
        return 0

    def wait(self, device: int, stream: int, producer: int) -> None:
        self.waited.append((device, stream, producer))

    def crop(
        self, source, frames, boxes, frame_index, count, out, height, width, half,
        gain, border, padding, antialias, device, stream,
    ) -> None:  # fmt: skip
        self.launches += 1
        table = (Frame * len(frames))()
        for to, (data, chroma, rows, columns, row_stride, chroma_stride) in zip(
            table, frames, strict=True
        ):
            to.data, to.chroma, to.height, to.width = data, chroma, rows, columns
            to.row_stride, to.chroma_stride = row_stride, chroma_stride
        pointer, long = ctypes.c_void_p, ctypes.c_int64
        colour = [(ctypes.c_float * 3)(*values) for values in (gain, border, padding)]
        status = self._crop(
            source, table, len(frames), pointer(boxes), pointer(frame_index), long(count),
            pointer(out), height, width, int(half), *colour, int(antialias),
        )  # fmt: skip
        assert status == 0


def upload(array: np.ndarray) -> object:
    """The array as if it lay on a device."""
    cuda = gpu_cases.load("edgepose.crop.cuda")
    return cuda.DeviceArray(array.ctypes.data, array.shape, array.dtype, array.strides, array)


def download(result: object) -> np.ndarray:
    memory = np.frombuffer(result.owner.bytes, result.dtype)
    return memory[: int(np.prod(result.shape))].reshape(result.shape)


def parity(count: int, seed: int = 0) -> list[float]:
    """Each case's error in tolerances, ``edgepose.crop.cuda._cuda`` being a ``HostCuda``."""
    return [
        gpu_cases.error(case, download(gpu_cases.run(case, upload)), gpu_cases.expected(case))
        for case in gpu_cases.cases(count, seed)
    ]


if __name__ == "__main__":
    gpu_cases.load("edgepose.crop.cuda")._cuda = HostCuda(Path(sys.argv[1]))
    worst = max(parity(int(sys.argv[2])))
    sys.stdout.write(f"{worst:.3g}\n")
    sys.exit(0 if worst <= 1 else 1)
