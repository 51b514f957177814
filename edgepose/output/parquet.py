"""Results as Parquet: a row for each frame, its persons nested, by Apache Arrow.

The file is there once it is whole: a run that is killed leaves the older one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgepose.errors import OutputError
from edgepose.files import check_writable, unwritable
from edgepose.output.jsonl import header, plain
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo

_GROUP = 512  # frames of a row group


class ParquetFile(Sink):
    """Columns as the keys of a line of ``--json``; its header is the file's metadata ``edgepose``.

    ``persons`` is a list of {id, box, score, joints}, numbers float32, rounded as in ``--json``.
    ``width`` and ``height`` are each frame's own.
    """

    pixels = False

    def __init__(self, path: str) -> None:
        """Check that ``path`` can be written; OutputError if not, or if pyarrow is missing."""
        self.path = self._file = Path(path)
        check_writable(self._file)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise OutputError(
                "--parquet needs pyarrow; install it with: pip install 'edgepose[parquet]'"
            ) from None
        self._arrow = pyarrow
        self._part = self._file.with_name(f"{self._file.name}.part")
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def start(self, run: RunInfo) -> None:
        """Begin a file beside the one that is asked for; OutputError if the system refuses."""
        a = self._arrow
        numbers = a.list_(a.float32())
        person = a.struct(
            {"id": a.int32(), "box": numbers, "score": a.float32(), "joints": a.list_(numbers)}
        )
        self._schema = a.schema(
            {
                "frame": a.int64(),
                "source": a.int32(),
                "t": a.float64(),
                "name": a.string(),
                "width": a.int32(),
                "height": a.int32(),
                "persons": a.list_(person),
            },
            metadata={"edgepose": msgspec.json.encode(header(run))},
        )
        try:
            self._writer = a.parquet.ParquetWriter(self._part, self._schema, compression="zstd")
        except OSError as error:
            raise unwritable(self._file, error) from None

    def write(self, result: Result) -> bool:
        """Keep one frame; OutputError when the disk is full."""
        self._rows.append(plain(result, (-1, -1)))
        if len(self._rows) == _GROUP:
            self._flush()
        return True

    def close(self) -> None:
        """Finish the file and put it in its place."""
        if self._writer is None:
            return
        writer = self._writer
        try:
            self._flush()
            self._writer = None
            writer.close()
            self._part.replace(self._file)
        except OSError as error:
            self._writer = None
            self._part.unlink(missing_ok=True)
            raise unwritable(self._file, error) from None

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))
        except OSError as error:
            raise unwritable(self._file, error) from None
