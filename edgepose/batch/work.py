"""One worker: does shard after shard, each one's results in a file that is whole or not there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgepose.api import estimator, load, load_detector
from edgepose.batch.corpus import Shard
from edgepose.bundle import Bundle
from edgepose.errors import SourceError
from edgepose.files import write_whole
from edgepose.output.jsonl import JsonLines
from edgepose.output.parquet import ParquetFile
from edgepose.output.sink import Sink, without_pixels
from edgepose.runner.capture import Feed
from edgepose.runner.pipeline import Pipeline
from edgepose.sources.source import Source
from edgepose.types import RunInfo

Format = Literal["jsonl", "parquet"]
_SINKS: dict[str, type[JsonLines] | type[ParquetFile]] = {
    "jsonl": JsonLines,
    "parquet": ParquetFile,
}


@dataclass(frozen=True)
class Settings:
    """What decides the results; a job that goes on must have the same."""

    out: str
    format: Format = "jsonl"
    bundle: str | None = None
    backend: str = "auto"
    threads: int = 1
    max_persons: int | None = None
    detect_every: int | None = None

    def file(self, shard: Shard) -> Path:
        """Where the results of ``shard`` are once they are whole."""
        return Path(self.out) / f"{shard.name}.{self.format}"

    def fault(self, shard: Shard) -> Path:
        """Where it says what of ``shard`` could not be read."""
        return Path(self.out) / f"{shard.name}.fault"

    def done(self, shard: Shard) -> bool:
        """Whether nothing of ``shard`` is left to do."""
        return self.file(shard).exists() and not self.fault(shard).exists()


class ShardWorker:
    """Loads the networks once; Ray Data makes one in each worker process and calls it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        model = Bundle(settings.bundle)
        self._cascade = load(model, settings.backend, settings.threads)
        self._detector = load_detector(model, settings.backend, settings.threads)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the shard that ``row`` spells out; gives its name, frames, persons and seconds.

        May be done again, or by two at once: the same file comes of it.
        """
        shard, begun = Shard(**row), time.perf_counter()
        target, fault = self.settings.file(shard), self.settings.fault(shard)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for every process: the one that was given up may still be writing.
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        frames = persons = 0
        try:
            with shard.open() as source:
                sink = _SINKS[self.settings.format](str(part))
                for count in self._results(source, sink):
                    frames, persons = frames + 1, persons + count
                part.replace(target)
        except _BrokenError as error:
            write_whole(fault, f"{error}\n".encode())
            part.replace(target)
        except SourceError as error:
            write_whole(fault, f"{error}\n".encode())
        else:
            fault.unlink(missing_ok=True)
        finally:
            part.unlink(missing_ok=True)
        seconds = time.perf_counter() - begun
        return {"name": shard.name, "frames": frames, "persons": persons, "seconds": seconds}

    def _results(self, source: Source, sink: Sink) -> Iterator[int]:
        """Write every result and give its number of persons; _BrokenError after the last."""
        settings = self.settings
        estimate = estimator(
            [source],
            self._cascade,
            self._detector,
            detect_every=settings.detect_every,
            max_persons=settings.max_persons,
        )
        cascade = self._cascade
        sink.start(RunInfo(cascade.bundle.name, cascade.backend, cascade.skeleton, (source.info,)))
        broken: SourceError | None = None
        try:
            with Pipeline([Feed(source)], estimate) as pipeline:
                for result in pipeline:
                    sink.write(without_pixels(result))
                    yield len(result.people)
                    del result
        except SourceError as error:
            broken = error
        finally:
            sink.close()
        if broken is not None:
            raise _BrokenError(str(broken))


class _BrokenError(Exception):
    """The source broke off; what came before it has been written."""


def described(settings: Settings, pictures: int) -> dict[str, Any]:
    """The settings as a file keeps them: the bundle by its content, the folder left out."""
    plain = asdict(settings)
    del plain["out"]
    bundle = Bundle(settings.bundle)
    plain["bundle"] = [bundle.name, *(spec.sha256 for spec in bundle.manifest.stages)]
    return {**plain, "pictures": pictures}
