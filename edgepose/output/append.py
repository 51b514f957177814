"""Records at the end of a file: each is one ``write`` of the system.

So a run that is killed leaves whole records only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgepose.files import STDOUT, unwritable
from edgepose.output.sink import GoneError


def open_appending(path: Path) -> int:
    """Make or empty the file at ``path``, "-" is stdout: its descriptor. OutputError if refused."""
    if path == STDOUT:
        return os.dup(1)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise unwritable(path, error) from None


def append(fd: int, record: bytes, path: Path) -> None:
    """Write one record, or nothing of it: OutputError when the disk is full.

    GoneError when the reader at the other end of a pipe has gone.
    """
    written = 0
    try:
        while written < len(record):
            written += os.write(fd, record[written:])
    except OSError as error:
        # A full disk takes the first part of a record: take it back.
        if written:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, os.fstat(fd).st_size - written)
        refused = unwritable(path, error)
        raise (GoneError(str(refused)) if isinstance(error, BrokenPipeError) else refused) from None
