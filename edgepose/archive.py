"""Arrays in an .npz that somebody else made: their shapes, before anything is unpacked."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

_ARRAYS = 256


def array_shapes(path: Path, most: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array by name; together they unpack to at most ``most`` bytes.

    Raises ValueError if the file is none, holds anything but plain numbers, or would unpack to
    more; OSError if it cannot be read.
    """
    found: dict[str, tuple[int, ...]] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _ARRAYS:
                raise ValueError(f"it has more than {_ARRAYS} arrays")
            for member in members:
                with archive.open(member) as stream:
                    if np.lib.format.read_magic(stream) != (1, 0):
                        raise ValueError(f"{member.filename!r} is of another format")
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                if dtype.hasobject:
                    raise ValueError(f"{member.filename!r} holds objects, not numbers")
                if not all(side >= 0 for side in shape):
                    raise ValueError(f"{member.filename!r} has a negative side")
                total += max(member.file_size, math.prod(shape) * dtype.itemsize)
                if total > most:
                    raise ValueError(f"it would unpack to more than {most >> 20} MiB")
                found[member.filename.removesuffix(".npy")] = shape
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
        *(tokenize.TokenError, SyntaxError, TypeError, MemoryError, OverflowError),
    ) as error:
        raise ValueError(str(error)) from error
    return found
