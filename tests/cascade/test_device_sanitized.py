"""The device cascade under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crop.cuda_host import ROOT, compile_module

FLAGS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_100_device_frames_under_sanitizers(tmp_path: Path):
    """In a process of its own, since the sanitizers' runtime has to be loaded first."""
    module = compile_module(tmp_path, *FLAGS)
    runtimes = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.cascade.device_run", str(module), "100"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout) <= 0.05
