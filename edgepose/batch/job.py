"""The job: shards that are not done yet, spread over workers by Ray Data.

Ray keeps the workers, starts a dead one again and gives its shards to others. What is done is
what lies on the disk: a shard's file is renamed into its place in one step, so a job that is
killed anywhere goes on with the shards that have none, and nothing is lost or there twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgepose.batch.corpus import Shard, find_shards
from edgepose.batch.work import Settings, ShardWorker, described
from edgepose.errors import BackendError, OutputError, SourceError
from edgepose.files import unwritable, write_whole

RETRIES = 3  # of a shard whose worker died: its own fault or not, nobody knows
_RECORD = "batch.json"


@dataclass
class Summary:
    """How a job went: shards in all, done before, done now; frames, persons and seconds of now."""

    shards: int
    before: int
    done: int = 0
    frames: int = 0
    persons: int = 0
    seconds: float = 0.0


def run(
    corpus: Path,
    settings: Settings,
    workers: int,
    *,
    pictures: int = 256,
    address: str | None = None,
    started: Callable[[Summary], Callable[[int], object]] = lambda _: lambda _: None,
) -> Summary:
    """Estimate every frame of ``corpus``; results lie below ``settings.out``, a file a shard.

    ``address``: of a Ray cluster, whose machines see the same paths; None starts ``workers``
    processes here. ``started`` is told what there is to do and gives what counts the shards done.
    Raises SourceError, OutputError, BackendError or BundleError; SourceError also, at the end, if
    parts of the corpus could not be read.
    """
    shards, faults = find_shards(corpus, pictures)
    _record(settings, pictures)
    todo = [shard for shard in shards if not settings.done(shard)]
    summary = Summary(len(shards), len(shards) - len(todo))
    advance = started(summary)
    if todo:
        for row in _spread(todo, settings, workers, address):
            summary.done += 1
            summary.frames += row["frames"]
            summary.persons += row["persons"]
            summary.seconds += row["seconds"]
            advance(1)
    _tidy(shards, settings)
    left = [shard for shard in shards if not settings.done(shard)]
    if left or faults:
        told = [*faults, *(_why(shard, settings) for shard in left)]
        more = f" And {len(told) - 1} more." if len(told) > 1 else ""
        raise SourceError(
            f"{len(told)} of {len(shards) + len(faults)} parts of '{corpus}' are not complete: "
            f"{told[0]}{more} The same command tries them again."
        )
    return summary


def _spread(
    todo: list[Shard], settings: Settings, workers: int, address: str | None
) -> Iterator[dict[str, Any]]:
    """Rows of :class:`ShardWorker`, in the order in which they are done."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(
            f"a batch needs Ray ({error}); install it with: pip install 'edgepose[ray]'"
        ) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # noqa: BLE001  Ray raises no type of its own here
        ray.shutdown()
        raise BackendError(
            f"Ray did not start ({' '.join(str(error).split())}); free the machine of other work, "
            "or name a cluster that runs with --address."
        ) from None
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        worker: Any = ShardWorker  # Ray's types know a callable, not its class
        context.max_errored_blocks = -1  # a shard that cannot be done holds up no other
        rows = ray.data.from_items(
            [asdict(shard) for shard in todo], override_num_blocks=len(todo)
        ).map(
            worker,
            fn_constructor_args=(settings,),
            concurrency=min(workers, len(todo)),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        yield from rows.iter_rows()
    finally:
        ray.shutdown()


def _record(settings: Settings, pictures: int) -> None:
    """Keep the settings beside the results; OutputError if those there come from others."""
    path = Path(settings.out) / _RECORD
    plain = described(settings, pictures)
    try:
        Path(settings.out).mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_whole(path, msgspec.json.format(msgspec.json.encode(plain)))
            return
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise unwritable(path, error) from None
    except msgspec.MsgspecError as error:
        raise OutputError(f"'{path}' is damaged ({error}); give another folder.") from None
    other = sorted(key for key in plain if found.get(key) != plain[key])
    if other:
        raise OutputError(
            f"'{settings.out}' was begun with another {' and '.join(other)}; give the same, or "
            "another folder."
        )


def _why(shard: Shard, settings: Settings) -> str:
    try:
        return settings.fault(shard).read_text().strip()
    except OSError:
        return f"{shard.name}: its worker died {RETRIES + 1} times."


def _tidy(shards: list[Shard], settings: Settings) -> None:
    """Remove what workers that died have left."""
    for folder in {settings.file(shard).parent for shard in shards}:
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
