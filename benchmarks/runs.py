"""``edgepose-run`` as a process of its own, this one's and an earlier one's, with its CPU time.

``EDGEPOSE_BEFORE`` names the folder of a built checkout of an earlier edgepose; ``EDGEPOSE_ROUNDS``
(5) is how many turns are measured.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import NamedTuple

ROUNDS = int(os.environ.get("EDGEPOSE_ROUNDS", "5"))
PRESENT = str(Path(__file__).parents[1])
BEFORE = os.environ.get("EDGEPOSE_BEFORE")
SHIPPED = str(resources.files("edgepose") / "models" / "edgepose-s")


def shipped_to_before(folder: Path) -> str:
    """The shipped bundle in ``folder``, described as an earlier edgepose reads it.

    Format 1 knows a skeleton by its name only, and that is how ours is named.
    """
    copy = folder / "shipped"
    shutil.copytree(SHIPPED, copy)
    path = copy / "bundle.toml"
    _, _, text = path.read_text().partition("\n")  # the line that seals the others
    path.write_text(text.replace("format = 2\n", "format = 1\n", 1))
    return str(copy)


class Run(NamedTuple):
    """Frames with persons, frames a second, MB and CPU seconds, of all processes."""

    found: int
    fps: float
    memory: float
    cpu: float


class Finished(NamedTuple):
    """What a process printed, its peak resident memory in MB, and its CPU seconds."""

    text: str
    memory: float
    cpu: float


def start(command: list[str], package: str = PRESENT) -> subprocess.Popen[str]:
    """A process that imports edgepose from ``package``; paths must be absolute."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": package},
        cwd=package,  # which ``python -m`` searches first
    )


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for a process, which must end well."""
    assert process.stdout is not None
    with process:
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return Finished(text, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def edgepose_run(
    folder: Path,
    *options: str,
    package: str = PRESENT,
    sources: list[list[str]] | None = None,
) -> Run:
    """One process for every list of ``sources``, side by side; by default one, over the sample."""
    running, outs = [], []
    for number, own in enumerate(sources or [["sample"]]):
        outs.append(folder / f"poses{number}.jsonl")
        program = [sys.executable, "-m", "edgepose.cli.run", "--json", str(outs[-1])]
        program += [word for source in own for word in ("--source", source)]
        running.append(start([*program, *options], package))
    done = [finish(process) for process in running]
    rates = [re.search(r"([\d.]+) FPS", process.text) for process in done]
    fps = sum(float(rate[1]) for rate in rates if rate)
    lines = [line for out in outs for line in out.read_text().splitlines()[1:]]
    found = sum('"persons":[]' not in line for line in lines)
    return Run(found, fps, sum(d.memory for d in done), sum(d.cpu for d in done))
