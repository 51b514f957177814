"""``edgepose-train``: train the stages and the detector of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli._common import run


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
    threads: Annotated[
        int, typer.Option(help="Threads; more than one pays only on an idle machine.", min=1)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Order, augmentation and initial weights.")] = 0,
) -> None:
    """Train a bundle, part by part, and export it to OUT/bundle.

    Goes on where an interrupted run of the same OUT stopped. Each part logs to
    OUT/PART/log.jsonl.
    """
    try:
        from edgepose.train.parts import Run, train_part
        from edgepose.train.recipe import load_recipe
    except ImportError as error:
        from edgepose.errors import EdgeposeError

        raise EdgeposeError(
            f"training needs the extra 'train' ({error}): pip install 'edgepose[train]'"
        ) from error
    chosen = load_recipe(recipe)
    job = Run(chosen, data, out, minutes, steps, seed, threads, init)
    every = [*(str(n + 1) for n in range(len(chosen.refine) + 1)), "detector"]
    for name in part or every:
        train_part(job, name)


def main() -> None:
    """Entry point of ``edgepose-train``."""
    run("edgepose-train", command)


if __name__ == "__main__":
    main()
