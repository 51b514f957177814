"""``edgepose-train``: train the stages and the detector of a bundle."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli._common import run


class Boxes(str, Enum):
    """What b⁰, the crop of stage 1, shows."""

    person = "person"
    full = "full"


class Precision(str, Enum):
    """Of the forward pass."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"
    fp16 = "fp16"


def command(
    data: Annotated[
        list[Path], typer.Argument(help="Annotation files (.jsonl), pictures beside them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, logs, bundle.")],
    recipe: Annotated[
        str, typer.Option(help="Name of a recipe that ships, or a .toml file.")
    ] = "edgepose-lite0",
    part: Annotated[
        list[str] | None,
        typer.Option(help="What to train: 1, 2, … or detector; repeat it. Default: everything."),
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(
            help="Joints to train: a name or a .toml file; default: the recipe's or the data's."
        ),
    ] = None,
    boxes: Annotated[
        Boxes | None,
        typer.Option(
            help="Stage 1 sees the person's box or the full picture; default: the recipe's."
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="Time per part; 0: as the recipe says.", min=0)
    ] = 0.0,
    steps: Annotated[int, typer.Option(help="At most so many steps per part.", min=1)] = 10**6,
    init: Annotated[
        Path | None,
        typer.Option(
            help="What to start from: a checkpoint, a folder of them, or MoveNet's ONNX file."
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Of the forward pass; auto: bf16 where the processor computes in it."),
    ] = Precision.auto,
    threads: Annotated[
        int, typer.Option(help="Threads; more than one pays only on an idle machine.", min=1)
    ] = 1,
    events: Annotated[bool, typer.Option("--events", help="Write TensorBoard events too.")] = False,
    seed: Annotated[int, typer.Option(help="Order, augmentation and initial weights.")] = 0,
) -> None:
    """Train a bundle, part by part, and export it to OUT/bundle.

    Goes on where an interrupted run of the same OUT stopped. Each part keeps its log
    (OUT/PART/log.jsonl) and its learning curve (curve.png). Several processes, on one machine or
    many: torchrun --nproc-per-node N -m edgepose.cli.train DATA … with the same options.
    """
    try:
        from edgepose.train.bundling import train_part
        from edgepose.train.distributed import joined
        from edgepose.train.loop import best_precision
        from edgepose.train.parts import Run, describe
        from edgepose.train.recipe import load_recipe
    except ImportError as error:
        from edgepose.errors import EdgeposeError

        raise EdgeposeError(
            f"training needs the extra 'train' ({error}): pip install 'edgepose[train]'"
        ) from error
    import msgspec
    from rich.console import Console

    chosen = load_recipe(recipe)
    if boxes is not None:
        chosen = msgspec.structs.replace(chosen, boxes=boxes.value)
    with joined() as processes:
        job = Run(
            chosen,
            data,
            out,
            minutes,
            steps,
            seed,
            threads,
            init,
            best_precision() if precision is Precision.auto else precision.value,
            skeleton,
            events,
            processes,
        )
        console = Console(quiet=not processes.main, highlight=False)
        for line in describe(job):
            console.print(line)
        several = f", {processes.count} processes" if processes.count > 1 else ""
        console.print(f"{job.skeleton.name}, {job.precision} on {processes.device}{several}")
        for name in part or chosen.parts():
            train_part(job, name)


def main() -> None:
    """Entry point of ``edgepose-train``."""
    run("edgepose-train", command)


if __name__ == "__main__":
    main()
