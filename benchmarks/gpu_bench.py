"""Everything that only a GPU can show, into one JSON; ``gpu.sh`` builds and runs it.

``python gpu_bench.py run OUT.json [STEP…]`` runs the steps of ``STEPS``, each in a process of its
own (``python gpu_bench.py step NAME``). A step of another file is a line in that table. A dry run,
with ``EDGEPOSE_DRY=1``, takes the device that is none.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_device import DRY, Mover, NoGpuError, open_bench_device
from gpu_steps import Step, give_result, run_steps

BOXES = 300 if DRY else 10_000
SANITIZED = 100 if DRY else 2_000
TOOLS = ("memcheck", "racecheck", "synccheck")


def parity(boxes: int = BOXES) -> dict[str, Any]:
    """The crop kernel against its definition."""
    import gpu_crop

    mover = Mover(open_bench_device())
    return gpu_crop.parity(boxes, mover.upload, mover.download, mover.stream.handle)


def boxes() -> dict[str, Any]:
    """The arithmetic between networks against ``edgepose.geometry``."""
    import gpu_boxes

    from edgepose.crop.native import module

    mover = Mover(open_bench_device())
    return gpu_boxes.parity(module(), mover.upload, mover.download, mover.stream.handle)


def sanitized() -> dict[str, Any]:
    """What the sanitizers watch: both of the above, small."""
    parts = {"crop": parity(SANITIZED), "boxes": boxes()}
    return {**parts, "passed": all(part["passed"] for part in parts.values())}


def timings() -> dict[str, Any]:
    """The crop kernel beside a copy, an empty launch and PyTorch."""
    import gpu_crop

    bench = gpu_crop.Bench(open_bench_device())
    if DRY:
        timed = gpu_crop.timings(bench, None, (14,), (96,), (1.0, 2.0))
    else:
        timed = gpu_crop.timings(bench, gpu_crop.TorchPeers)
    return {**timed, "passed": True}  # a wrong result is an error; a missed goal is only reported


FUNCTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "parity": parity,
    "boxes": boxes,
    "sanitized": sanitized,
    "timings": timings,
}
"""What ``step NAME`` calls; or a function of another module, by ``MODULE:FUNCTION``."""


def _python(name: str) -> list[str]:
    return [sys.executable, __file__, "step", name]


def _sanitizer(tool: str) -> Step:
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    command = [program, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all"]
    if not Path(program).exists():
        command = [sys.executable, "-c", "print('There is no compute-sanitizer.')"]
    return Step(tool, [*command, *_python("sanitized")], 300, judge_sanitizer)


def judge_sanitizer(code: int, text: str) -> dict[str, Any]:
    """Believe a sanitizer only with its summary; some machines refuse it the device."""
    lines = [line for line in text.splitlines() if "SUMMARY" in line]
    if not lines:
        return {"passed": None, "error": "the sanitizer did not run", "output": text[-2000:]}
    clean = code == 0
    return {"passed": clean, "summary": lines[-1]} | ({} if clean else {"output": text[-4000:]})


def steps() -> list[Step]:
    """The table, in the order in which a failure says most."""
    return [
        Step("parity", _python("parity"), 120),
        Step("boxes", _python("boxes"), 60),
        *(_sanitizer(tool) for tool in TOOLS),
        Step("timings", _python("timings"), 240),
        Step("cascade", _python("gpu_cascade:parity"), 180),
        Step("cascade timings", _python("gpu_cascade:timings"), 240),
        Step("cascade floor", _python("gpu_floor:floor"), 120),
        Step("cascade memory", _python("gpu_cascade:memory"), 240),
    ]


def machine() -> dict[str, Any]:
    """Describe this machine, without touching its GPU."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm"]
    gpu = "no nvidia-smi"
    if shutil.which("nvidia-smi"):
        command = [*query, "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            gpu = done.stdout.strip()
        except subprocess.TimeoutExpired:
            gpu = "nvidia-smi hangs"
    # Here, so that the steps are listed without the package.
    from edgepose.bench.machine import processor
    from edgepose.crop import native

    return {
        "gpu": gpu,
        "cpu": f"{os.cpu_count()} x {processor()}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "architectures": native._cuda and native._cuda.ARCHITECTURES,
        "cuda": native._cuda and native._cuda.versions(),
    }


def finish(done: dict[str, Any]) -> dict[str, Any]:
    """The design's goals, as far as they were measured."""
    import gpu_crop

    timed = done.get("timings", {})
    return {"goals": gpu_crop.goals(timed)} if "rows" in timed else {}


def find(name: str) -> Callable[[], dict[str, Any]]:
    """Return the function that a step calls."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    file, _, function = name.partition(":")
    found: Callable[[], dict[str, Any]] = getattr(importlib.import_module(file), function)
    return found


def main() -> int:
    """Exit code: 0 no step failed, 1 one did, 2 there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("gpu", help="exit with 2 where there is none")
    commands.add_parser("step", help="run one step in this process").add_argument("name")
    run = commands.add_parser("run", help="run the steps")
    run.add_argument("out", type=Path)
    run.add_argument("steps", nargs="*", metavar="STEP", help="by default all")
    arguments = parser.parse_args()
    if arguments.command == "step":
        give_result(find(arguments.name)())
        return 0
    probe = subprocess.run(  # not here: a broken driver may take the process with it
        [sys.executable, "-c", "from gpu_device import require_gpu; require_gpu()"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or ["The GPU does not answer."])[-1]
        reason = reason.removeprefix(f"gpu_device.{NoGpuError.__name__}: ")
        print(f"{reason} This benchmark needs a GPU.", file=sys.stderr)
        return 2
    if arguments.command == "gpu":
        return 0
    table = steps()
    unknown = set(arguments.steps) - {step.name for step in table}
    if unknown:
        parser.error(f"there is no step {', '.join(sorted(unknown))}")
    chosen = [step for step in table if not arguments.steps or step.name in arguments.steps]
    passed = run_steps(chosen, arguments.out, {"machine": machine()}, print, finish)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
