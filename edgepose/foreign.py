"""Reading files that somebody else made: bounded, in their folder, as data and never as code.

The limits are far above what any real file needs, and low enough that a made-up one costs
neither memory nor minutes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

TOML_BYTES = 64 * 1024
# A key lies in one line, and parsers take time with the square of its dotted parts.
TOML_LINE = 1000


def read_bounded(path: Path, most: int) -> bytes:
    """Content of a regular file of at most ``most`` bytes; OSError, ``strerror`` set, otherwise.

    A pipe or a device is refused without waiting for it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a name with a NUL
        raise OSError(errno.EINVAL, str(error)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024} KiB")
    return content


def inside(folder: Path, name: str) -> Path:
    """``folder / name`` if that lies in or below ``folder``, links followed; OSError otherwise."""
    try:
        path = folder / name
        found = path.resolve()
        # From Python 3.13 on links in a circle are no error: they stay links.
        within = name != "" and not found.is_symlink() and found.is_relative_to(folder.resolve())
    except (ValueError, RuntimeError):  # a NUL in the name; links in a circle
        within = False
    if not within:
        raise OSError(errno.EACCES, "it lies outside its folder")
    return path


def decode_toml(content: bytes, kind: type[T]) -> T:
    """TOML as ``kind``; ValueError says what is wrong, a bomb's size included."""
    if len(content) > TOML_BYTES:
        raise ValueError(f"it is larger than {TOML_BYTES // 1024} KiB")
    if max(map(len, content.splitlines()), default=0) > TOML_LINE:
        raise ValueError(f"it has a line of more than {TOML_LINE} bytes")
    try:
        return msgspec.toml.decode(content, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except OverflowError as error:
        raise ValueError(str(error)) from None


def printable(text: str, most: int = 200) -> bool:
    """Whether ``text`` may be shown in a terminal: no control characters, not endless."""
    return len(text) <= most and text.isprintable()
