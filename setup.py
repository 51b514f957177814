"""Builds the C++ extensions; everything else is in pyproject.toml."""

import os
import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup

sys.path.insert(0, str(Path(__file__).parent))  # an isolated build does not look here
import cuda_build

flags = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-pthread", "-ffp-contract=fast"]
flags += ["-Wall", "-Wextra", "-Wconversion"]
if os.environ.get("EDGEPOSE_WERROR") == "1":
    flags.append("-Werror")

setup(
    cmdclass={"build_ext": cuda_build.BuildExtensions},
    ext_modules=[
        Extension(
            "edgepose._core",
            ["csrc/core_bindings.cpp", *sorted(glob("csrc/crop_cpu*.cpp"))],
            depends=glob("csrc/*.h"),
            include_dirs=["csrc"],
            extra_compile_args=flags,
            extra_link_args=["-pthread"],
        ),
        Extension(
            cuda_build.HOST,
            ["csrc/host_bindings.cpp", *sorted(glob("csrc/*_host.cpp"))],
            depends=[*glob("csrc/*.h"), *glob("csrc/*.cu")],
            include_dirs=["csrc"],
            define_macros=[("EDGEPOSE_CUDA_ON_HOST", None)],
            extra_compile_args=flags,
            optional=True,  # it only stands in for edgepose._cuda where there is no GPU
        ),
        *cuda_build.extensions(),
    ],
)
