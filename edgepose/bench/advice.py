"""What the figures say about the options of ``edgepose-run``."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.bench.results import Advice, Row, Run

NEAR = 0.95  # of the best rate: no difference that anybody would see, and less than the noise


def advise(rows: Sequence[Row], runs: Sequence[Run]) -> Advice:
    """Backend by the whole cascade for one person; threads and interval by the whole program.

    Of rates within five percent the fewest threads win, which leaves cores to others, and the
    shortest interval, which finds newcomers sooner.
    """
    alone = [row for row in rows if row.what == "cascade" and row.persons == 1]
    best = min(alone, key=lambda row: row.milliseconds)
    others = {row.way: row.milliseconds for row in alone if row.way != best.way}
    why = [f"backend: {best.way} takes {best.milliseconds:.1f} ms for one person"]
    if others:
        way, least = min(others.items(), key=lambda item: item[1])
        why[0] += f", {way} {least:.1f} ms"
    compared = [run for run in runs if run.detect_every == 20]
    fastest = max(run.fps for run in compared)
    threads = min((run for run in compared if run.fps >= NEAR * fastest), key=lambda r: r.threads)
    rates = ", ".join(f"{run.threads}: {run.fps:.1f}" for run in compared)
    why.append(f"threads: frames per second by threads of a network: {rates}")
    same = [run for run in runs if run.threads == _measured(runs)]
    fastest = max(run.fps for run in same)
    chosen = min((r for r in same if r.fps >= NEAR * fastest), key=lambda r: r.detect_every)
    rates = ", ".join(
        f"{r.detect_every}: {r.fps:.1f}" for r in sorted(same, key=lambda r: r.detect_every)
    )
    why.append(f"detect-every: frames per second by the detector's interval: {rates}")
    return Advice(best.way.split()[0], threads.threads, chosen.detect_every, why)


def _measured(runs: Sequence[Run]) -> int:
    """The thread count that all intervals were measured with."""
    return next((run.threads for run in runs if run.detect_every != 20), runs[0].threads)


def run_toml(advice: Advice) -> str:
    """The advice as a file for ``edgepose-run --config``."""
    comments = "".join(f"# {line}\n" for line in advice.why)
    return (
        f"# Written by edgepose-bench for this machine: edgepose-run --config FILE …\n{comments}"
        f'backend = "{advice.backend}"\nthreads = {advice.threads}\n'
        f"detect-every = {advice.detect_every}\n"
    )
