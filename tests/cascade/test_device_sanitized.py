"""The device cascade under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests import sanitized


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_100_device_frames_under_sanitizers():
    """In a process of its own, since the sanitizers' runtime has to be loaded first."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cascade.device_run", "100"],
        capture_output=True,
        text=True,
        env=sanitized.environment(),
        cwd=sanitized.ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(done.stdout) <= 0.05
