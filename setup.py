"""Builds the C++ extension; everything else is in pyproject.toml."""

import os

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

flags = ["-O3", "-ffp-contract=fast", "-Wall", "-Wextra", "-Wconversion"]
if os.environ.get("EDGEPOSE_WERROR") == "1":
    flags.append("-Werror")

setup(
    ext_modules=[
        Pybind11Extension(
            "edgepose._core",
            ["csrc/core_bindings.cpp", "csrc/crop_cpu.cpp"],
            depends=["csrc/crop.h"],
            include_dirs=["csrc"],
            extra_compile_args=flags,
            cxx_std=17,
        )
    ]
)
