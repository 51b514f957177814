"""``edgepose batch``: poses of a whole corpus, by several processes or machines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common


class Format(str, Enum):
    """How results are written."""

    jsonl = "jsonl"
    parquet = "parquet"


def command(
    corpus: Annotated[
        Path,
        typer.Argument(help="A folder of videos, pictures and tars of pictures, or one of these."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; one that is begun goes on.")],
    format: Annotated[Format, typer.Option(help="How results are written.")] = Format.jsonl,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one for each core.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A Ray cluster, such as **auto**, whose machines see the same folders; default: "
            "this machine."
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of a shard at most.")] = 256,
    bundle: Annotated[
        Path | None, typer.Option(help="The model's folder; default: the one that ships.")
    ] = None,
    backend: Annotated[str, typer.Option(help="What runs the networks.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of a worker's network.")] = 1,
    max_persons: Annotated[
        int | None, typer.Option(min=1, help="Follow at most so many persons; default: 5.")
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Look for persons in every Nth frame; default: 20."),
    ] = None,
) -> None:
    """Estimate the poses in every frame of a corpus, as a Ray Data job (extra **ray**).

    Each video and each range of pictures is a shard with a file of its own below OUT, with what
    **edgepose-run** would write. After a kill the same command goes on with what is left.
    """
    from rich.console import Console

    from edgepose.batch.job import Summary, run
    from edgepose.batch.work import Settings

    console = Console(highlight=False)
    settings = Settings(
        str(out.resolve()),
        format.value,
        None if bundle is None else str(bundle.resolve()),
        backend,
        threads,
        max_persons,
        detect_every,
    )
    with contextlib.ExitStack() as stack:

        def started(summary: Summary) -> Callable[[int], None]:
            left = summary.shards - summary.before
            there = f", {summary.before} done before" if summary.before else ""
            console.print(f"{corpus}: {summary.shards} shards{there}", markup=False, soft_wrap=True)
            return stack.enter_context(_common.progress("shards", left))

        done = run(
            corpus.resolve(),
            settings,
            workers or len(os.sched_getaffinity(0)),
            pictures=pictures,
            address=address,
            started=started,
        )
    console.print(
        f"{done.frames} frames, {done.persons} persons in {done.done} shards, {done.seconds:.0f} s "
        f"of workers' time; wrote {out}",
        markup=False,
        soft_wrap=True,
    )


def main() -> None:
    """Run ``edgepose-batch``."""
    _common.run("edgepose-batch", command)


if __name__ == "__main__":
    main()
