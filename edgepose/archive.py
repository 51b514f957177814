"""Arrays in an .npz that somebody else made: whole, of plain numbers, and not too large."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

_ARRAYS = 256


def array_shapes(path: Path, most: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array by name; afterwards ``np.load`` gives each without a surprise.

    Raises ValueError if the file is none, is damaged, holds anything but plain numbers, or unpacks
    to more than ``most`` bytes; OSError if it cannot be read.
    """
    found: dict[str, tuple[int, ...]] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _ARRAYS:
                raise ValueError(f"it has more than {_ARRAYS} arrays")
            for member in members:
                total += member.file_size
                if total > most:
                    raise ValueError(f"it unpacks to more than {most >> 20} MiB")
                with archive.open(member) as stream:
                    if np.lib.format.read_magic(stream) != (1, 0):
                        raise ValueError(f"{member.filename!r} is of another format")
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                    size = 0
                    while chunk := stream.read(2**20):  # to the end, where the checksum stands
                        size += len(chunk)
                if dtype.hasobject:
                    raise ValueError(f"{member.filename!r} holds objects, not numbers")
                if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
                    raise ValueError(f"{member.filename!r} is of another size than it says")
                found[member.filename.removesuffix(".npy")] = shape
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        *(tokenize.TokenError, SyntaxError, TypeError, MemoryError, OverflowError),
    ) as error:
        raise ValueError(str(error)) from error
    return found
