"""Builds the C++ extensions; everything else is in pyproject.toml."""

import os
import sys
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent))  # an isolated build does not look here
import cuda_build

flags = ["-O3", "-pthread", "-ffp-contract=fast", "-Wall", "-Wextra", "-Wconversion"]
if os.environ.get("EDGEPOSE_WERROR") == "1":
    flags.append("-Werror")

setup(
    cmdclass={"build_ext": cuda_build.BuildExtensions},
    ext_modules=[
        Pybind11Extension(
            "edgepose._core",
            ["csrc/core_bindings.cpp", *sorted(glob("csrc/crop_cpu*.cpp"))],
            depends=glob("csrc/crop*.h"),
            include_dirs=["csrc"],
            extra_compile_args=flags,
            extra_link_args=["-pthread"],
            cxx_std=17,
        ),
        *cuda_build.extensions(),
    ],
)
