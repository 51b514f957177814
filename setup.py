"""Builds the C++ extensions; everything else is in pyproject.toml."""

import os
import sys
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension, build_ext
from setuptools import Extension, setup
from setuptools.errors import CompileError

sys.path.insert(0, str(Path(__file__).parent))  # an isolated build does not look here
import cuda_build

flags = ["-O3", "-ffp-contract=fast", "-Wall", "-Wextra", "-Wconversion"]
if os.environ.get("EDGEPOSE_WERROR") == "1":
    flags.append("-Werror")


class BuildExtensions(build_ext):
    def build_extension(self, ext):
        if ext.name != "edgepose._cuda":
            super().build_extension(ext)
            return
        try:
            cuda_build.build(self.get_ext_fullpath(ext.name), cuda_build.header_folders())
        except cuda_build.CudaBuildError as error:
            raise CompileError(str(error)) from None


def cuda_extensions():
    wanted = cuda_build.mode()
    if wanted == "0" or (wanted == "auto" and cuda_build.find_nvcc() is None):
        return []
    return [
        Extension(
            "edgepose._cuda",
            cuda_build.SOURCES,
            depends=cuda_build.DEPENDS,
            optional=wanted == "auto",  # then a failure is a warning
        )
    ]


setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=[
        Pybind11Extension(
            "edgepose._core",
            ["csrc/core_bindings.cpp", "csrc/crop_cpu.cpp"],
            depends=["csrc/crop.h"],
            include_dirs=["csrc"],
            extra_compile_args=flags,
            cxx_std=17,
        ),
        *cuda_extensions(),
    ],
)
