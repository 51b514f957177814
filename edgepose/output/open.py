"""What a user types → sinks: one table, one line per kind of output.

The command line makes its options from the table, so nothing heavy is imported here.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from edgepose.errors import OutputError
from edgepose.files import STDOUT, same_file

if TYPE_CHECKING:
    from edgepose.output.outputs import Outputs
    from edgepose.output.sink import Sink


class Kind(NamedTuple):
    """A kind of output.

    ``make`` names a class that takes the option's text, as ``module:Class``; ``metavar`` is None
    for an option without a text, whose class takes nothing. ``drawn``: it is given frames with the
    skeletons drawn over them. ``main``: it is used on the main thread only.
    """

    make: str
    metavar: str | None
    help: str
    drawn: bool = False
    main: bool = False


KINDS: dict[str, Kind] = {
    "show": Kind(
        "edgepose.output.window:Window",
        None,
        "Show the overlay in a window.",
        drawn=True,
        main=True,
    ),
    "out": Kind(
        "edgepose.output.video:VideoFile",
        "FILE",
        "Write the overlay as a video (.mp4, .mkv, .mov, .avi), readable after a kill too. An "
        "existing file is overwritten.",
        drawn=True,
    ),
    "json": Kind(
        "edgepose.output.jsonl:JsonLines",
        "FILE",
        "Write poses as JSON lines, **-** for stdout. An existing file is overwritten.",
    ),
    "csv": Kind(
        "edgepose.output.csv:CsvFile",
        "FILE",
        "Write poses as a table, a row for each person of each frame, **-** for stdout.",
    ),
    "parquet": Kind(
        "edgepose.output.parquet:ParquetFile",
        "FILE",
        "Write poses as Parquet, a row for each frame (extra **parquet**).",
    ),
    "coco": Kind(
        "edgepose.output.coco:CocoFile",
        "FILE",
        "Write poses as COCO keypoint annotations, in one piece at the end.",
    ),
    "pictures": Kind(
        "edgepose.output.pictures:Pictures",
        "FOLDER",
        "Write the overlay of every frame as a JPEG.",
        drawn=True,
    ),
    "serve": Kind(
        "edgepose.output.web.server:Web",
        "[HOST:]PORT",
        "Show a live page in the browser, with metrics for Prometheus. Only this machine can see "
        "it unless HOST says otherwise; then a token is needed, which is printed, or taken from "
        "EDGEPOSE_TOKEN.",
    ),
}


def open_outputs(wanted: Mapping[str, str | bool]) -> Outputs:
    """The sinks of the options in ``wanted`` (name → text, or True), checked but not started.

    Raises OutputError if one of them cannot be, or if two would write the same file.
    """
    from edgepose.output.outputs import Outputs, Placed

    placed = []
    for option, text in wanted.items():
        kind = KINDS[option]
        module, _, name = kind.make.partition(":")
        make = getattr(importlib.import_module(module), name)
        sink = cast("Sink", make() if kind.metavar is None else make(text))
        placed.append(Placed(f"--{option}", sink, kind.drawn, kind.main))
    for a, b in itertools.combinations((p for p in placed if p.sink.path), 2):
        first, second = cast(Path, a.sink.path), cast(Path, b.sink.path)
        if same_file(first, second):
            raise OutputError(f"{a.option} and {b.option} both name '{first}'; give two paths.")
    return Outputs(placed)


def check_apart(outputs: Outputs, sources: Iterable[Path]) -> None:
    """OutputError if an output would overwrite one of ``sources``: a file, or one in a folder."""
    for source in sources:
        taken = [source, *(source.iterdir() if source.is_dir() else ())]
        for place in outputs.placed:
            path = place.sink.path
            if path is None or path == STDOUT:
                continue
            if any(same_file(path, t) for t in taken):
                raise OutputError(
                    f"{place.option} would overwrite the source '{path}'; give another path."
                )
