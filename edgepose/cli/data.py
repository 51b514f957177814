"""``edgepose-data``: bring annotated pictures into the form that training and evaluation read."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from edgepose.cli import _common

_Data = Annotated[Path, typer.Argument(help="An annotation file (.jsonl), its pictures beside it.")]


class Format(str, Enum):
    """Who wrote the annotations."""

    coco = "coco"
    lsp = "lsp"
    mpii = "mpii"


app = _common.group("Convert, check and look at annotated pictures.")


def convert(
    source: Annotated[Path, typer.Argument(help="COCO's or MPII's .json, LSP's or MPII's .mat.")],
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    out: Annotated[Path, typer.Option(help="Where to write: OUT.jsonl, OUT.tar and a skeleton.")],
    format: Annotated[Format, typer.Option(help="Who wrote the annotations.")] = Format.coco,
    val: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the pictures kept for validation.")
    ] = 0.1,
) -> None:
    """Convert annotations of COCO, LSP, LSPET or MPII."""
    from rich.console import Console

    from edgepose.data.convert import convert as convert_set

    persons, pictures = convert_set(source, format.value, images, out.with_suffix(""), val)
    Console(highlight=False).print(
        f"wrote {out.with_suffix('.jsonl')}: {persons} persons in {pictures} pictures",
        soft_wrap=True,
    )


def check(data: _Data) -> None:
    """Name everything that is wrong with a set, line by line; exit code 2 if anything is."""
    from rich.console import Console

    from edgepose.data.convert import faults
    from edgepose.errors import DataError

    console, count = Console(highlight=False), 0
    for fault in faults(data):
        console.print(fault, markup=False, soft_wrap=True)
        count += 1
    if count:
        raise DataError(f"{data} has {count} faults; mend the lines named")
    console.print(f"{data}: nothing wrong", markup=False, soft_wrap=True)


def show(
    data: _Data,
    out: Annotated[Path, typer.Option(help="The picture to write (.png).")],
    count: Annotated[int, typer.Option(min=1, max=400, help="Persons to show.")] = 24,
    split: Annotated[str, typer.Option(help="Which lines; **all** takes every one.")] = "all",
) -> None:
    """Draw some persons of a set with their joints, as one sheet."""
    from edgepose.cli._sheet import data_sheet
    from edgepose.files import write_output

    write_output(out, data_sheet(data, None if split == "all" else split, count))


for _made in (convert, check, show):
    app.command(_made.__name__)(_common.reporting(f"edgepose-data {_made.__name__}", _made))


def main() -> None:
    """Run ``edgepose-data``."""
    app(prog_name="edgepose-data")


if __name__ == "__main__":
    main()
