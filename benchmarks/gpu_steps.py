"""Steps of a benchmark that a crash or a hang of one must not cost: see ``gpu_bench.py``.

Every step runs in a process of its own, under a time limit, and the JSON of all of them is written
again after each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAIL = 4000  # characters of a failed step's output that are kept


@dataclass(frozen=True)
class Step:
    """One process.

    Attributes:
        name: of the step, and of its entry in the JSON.
        command: what to run, without the place of the result: the process writes its result as a
            JSON object, with "passed" in it, to the file that ``EDGEPOSE_STEP_RESULT`` names.
        limit: seconds that it may take.
        judge: for a process that knows nothing of that: what its exit code and output mean; a
            "passed" of None is a step that could not be done here, which is no fault.
    """

    name: str
    command: Sequence[str]
    limit: float
    judge: Callable[[int, str], dict[str, Any]] | None = None


def give_result(result: dict[str, Any]) -> None:
    """Hand a step's result, with "passed" in it, to whoever started this process."""
    text = json.dumps(result)
    Path(os.environ["EDGEPOSE_STEP_RESULT"]).write_text(text)


def run_step(step: Step) -> dict[str, Any]:
    """Run one step; return "passed" (None: could not be done), "seconds" and what it found."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "result.json")
        with Path(folder, "output").open("w+") as output:
            process = subprocess.Popen(
                step.command,
                env={**os.environ, "EDGEPOSE_STEP_RESULT": str(place)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a hanging child of it ends too
            )
            try:
                code = process.wait(step.limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
            output.seek(0)
            text = output.read()
        outcome = _outcome(step, code, place, text)
    return {**outcome, "seconds": round(time.perf_counter() - begin, 1)}


def _outcome(step: Step, code: int | None, place: Path, text: str) -> dict[str, Any]:
    if code is None:
        error = f"it took more than {step.limit:g} s"
        return {"passed": False, "error": error, "output": text[-TAIL:]}
    if step.judge is not None:
        return step.judge(code, text)
    try:
        result = json.loads(place.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        result = None
    if code == 0 and isinstance(result, dict) and isinstance(result.get("passed"), bool | None):
        return result
    error = f"it ended with signal {-code}" if code < 0 else f"it ended with exit code {code}"
    return {**(result or {}), "passed": False, "error": error, "output": text[-TAIL:]}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the step's process and what it has started, if any is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_steps(
    steps: Sequence[Step],
    out: Path,
    head: dict[str, Any],
    say: Callable[[str], None],
    finish: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> bool:
    """Run all steps in order, whatever becomes of each.

    Args:
        steps: in the order in which a failure says most.
        out: the JSON to write before the first and after every step: ``head``, "complete",
            "passed", "steps" by name, and what ``finish`` makes of those.
        head: what describes the machine.
        say: told one line per step.
        finish: from the results so far to further entries.

    Returns:
        Whether no step failed.
    """
    done: dict[str, Any] = {}
    for number, step in enumerate([None, *steps]):
        if step is not None:
            say(f"{step.name} …")
            done[step.name] = result = run_step(step)
            verdict = {True: "passed", False: "FAILED", None: "not done"}[result["passed"]]
            say(f"{step.name}: {verdict} in {result['seconds']:g} s {result.get('error', '')}")
        passed = all(result["passed"] is not False for result in done.values())
        report = {
            **head,
            "complete": number == len(steps),
            "passed": passed,
            **finish(done),
            "steps": done,
        }
        part = out.with_name(out.name + ".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(out)
    return passed
