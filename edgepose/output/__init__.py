"""Where results go: overlay, window, video and JSON lines."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edgepose.errors import OutputError

__all__ = ["check_writable", "unwritable"]


def check_writable(path: Path) -> None:
    """OutputError unless a file can be made, or overwritten, at ``path``; nothing is touched."""
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
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"'{path}' cannot be written ({reason}); give another path.")
