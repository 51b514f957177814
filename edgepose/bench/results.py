"""What a benchmark found, as data: it travels as JSON, and two of them can be compared."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgepose.errors import DataError
from edgepose.files import write_output

FORMAT = 1


class Row(msgspec.Struct, frozen=True):
    """One measurement: the median of ``rounds`` in milliseconds, ``low`` and ``high`` quartiles.

    ``what`` is crop, cascade, detector or peer; ``way`` the crop kernel's path, or what runs the
    networks and in which precision.
    """

    what: str
    way: str
    threads: int
    persons: int
    milliseconds: float
    low: float
    high: float
    rounds: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What makes two rows of two machines comparable."""
        return (self.what, self.way, self.threads, self.persons)


class Run(msgspec.Struct, frozen=True):
    """The whole program on the sample clip, decoding to results."""

    way: str
    threads: int
    detect_every: int
    fps: float
    frames: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """As of :class:`Row`."""
        return ("run", self.way, self.threads, self.detect_every)


class Advice(msgspec.Struct, frozen=True):
    """Options of ``edgepose-run`` for this machine; ``why`` one sentence for each."""

    backend: str
    threads: int
    detect_every: int
    why: list[str]


class Results(msgspec.Struct, frozen=True):
    """One call of ``edgepose-bench``. ``skipped``: what is not there, and why."""

    edgepose_bench: int
    version: str
    bundle: str
    taken: str
    machine: dict[str, str]
    rows: list[Row]
    runs: list[Run]
    skipped: dict[str, str]
    seconds: float
    advice: Advice


def read(path: Path) -> Results:
    """Results that ``--json`` wrote; DataError if the file is none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not what edgepose-bench --json writes: {error}") from None
    if found.edgepose_bench != FORMAT:
        raise DataError(
            f"{path} has format {found.edgepose_bench}, this edgepose-bench reads {FORMAT}; take "
            "it with this version"
        )
    return found


def write(path: Path, results: Results) -> None:
    """Write JSON; OutputError if the system refuses."""
    write_output(path, msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def ratios(now: Results, before: Results) -> dict[tuple[str, str, int, int], float]:
    """Speed against ``before``, by key, of all that both have: above 1 is faster now."""
    times = {row.key: row.milliseconds for row in before.rows}
    rates = {run.key: run.fps for run in before.runs}
    found = {r.key: times[r.key] / r.milliseconds for r in now.rows if r.key in times}
    return found | {r.key: r.fps / rates[r.key] for r in now.runs if r.key in rates}
