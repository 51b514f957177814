"""Files that are written: whole or not at all, never over what is being read, "-" for stdout."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgepose.errors import OutputError

STDOUT = Path("-")


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file, through links too; neither need exist."""
    with contextlib.suppress(OSError):
        return a.samefile(b)
    return os.path.realpath(a) == os.path.realpath(b)


def check_writable(path: Path) -> None:
    """OutputError unless a file can be made, or overwritten, at ``path``; nothing is touched."""
    if path == STDOUT:
        return
    try:
        is_folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise unwritable(path, error) from None
    if is_folder:
        raise unwritable(path, OSError(errno.EISDIR, "it is a folder"))
    folder = path.parent
    if not there and not folder.is_dir():
        raise OutputError(
            f"'{path}' cannot be written: there is no folder '{folder}'; make it first."
        )
    if not os.access(path if there else folder, os.W_OK):
        raise unwritable(path, OSError(errno.EACCES, "permission denied"))


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a file that the system refuses to write."""
    if path == STDOUT:
        return OutputError("The reader of stdout has gone; keep it running until the end.")
    reason = (error.strerror or str(error)).lower()
    remedy = "free some space" if error.errno in FULL else "give another path"
    return OutputError(f"'{path}' cannot be written ({reason}); {remedy}.")


FULL = (errno.ENOSPC, errno.EDQUOT)


def write_whole(
    path: Path, content: bytes | Callable[[BinaryIO], object], *, sync: bool = True
) -> None:
    """Write a file whole or not at all, with ``sync`` also where the machine crashes.

    ``content``: the bytes, or what writes them to an open file. A link is followed; a pipe, a
    device or a file in a folder that takes no new ones is written in place. Raises OSError.
    """

    def fill(file: BinaryIO) -> None:
        if callable(content):
            content(file)
        else:
            file.write(content)

    target = Path(os.path.realpath(path))
    if (target.exists() and not target.is_file()) or not os.access(target.parent, os.W_OK):
        with target.open("wb") as file:
            fill(file)
        return
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            fill(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if not sync:
        return
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_output(path: Path, content: bytes) -> None:
    """:func:`write_whole`, or stdout for "-"; OutputError if the system refuses."""
    try:
        if path != STDOUT:
            write_whole(path, content)
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise unwritable(path, error) from None
