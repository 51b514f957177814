"""Annotated pictures: one JSON line per person, the pictures in a tar or folder beside it.

A line has ``image``, ``width``, ``height``, ``joints`` (each ``[x, y, v]`` in pixels; v 0 is not
labelled, 1 hidden, 2 visible), ``person_box`` (tight around the labelled joints) and optionally
``boxes``, ``true_box``, ``true_boxes``, ``area`` (pixels of the person, for OKS), ``label``,
``weight`` and ``split``. The joints are
those of the skeleton in ``NAME.skeleton.toml`` beside it; without one, of that which ships with
as many joints as the first line has (14: LSP's, 17: COCO's, 21: a hand's).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import DataError
from edgepose.foreign import inside, read_bounded
from edgepose.geometry import person_boxes
from edgepose.picture import decode_picture
from edgepose.skeleton import Skeleton, read_skeleton, skeleton_of_size


class _Splittable(Protocol):
    @property
    def split(self) -> str: ...


Line = TypeVar("Line", bound=_Splittable)

PICTURE_BYTES = 2**28  # encoded
_FAR = 2**20  # pixels; far beyond, float32 loses them
_OUTSIDE = 0.05  # of the picture's longer side: a joint farther outside is a mistake


class Record(msgspec.Struct, frozen=True):
    """One annotated person; coordinates in pixels of its picture."""

    image: str
    width: int
    height: int
    joints: list[tuple[float, float, float]]
    person_box: tuple[float, float, float, float] | None = None
    boxes: list[tuple[float, float, float, float, float]] = []
    true_box: tuple[float, float, float, float] | None = None
    true_boxes: list[tuple[float, float, float, float]] = []
    area: float | None = None
    label: str = "human"
    weight: float = 1.0
    split: str = "train"

    @property
    def points(self) -> NDArray[np.float32]:
        """(k, 2) joint positions in pixels, (0, 0) where not labelled."""
        return np.array(self.joints, np.float32)[:, :2]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(k,) True where the joint has a position."""
        return np.array(self.joints, np.float32)[:, 2] > 0

    @property
    def truth_box(self) -> NDArray[np.float32]:
        """(4,) box around the whole person: the annotated one, else grown from the joints."""
        if self.true_box is not None:
            return np.array(self.true_box, np.float32)
        return person_boxes(self.points[self.labelled])


def set_skeleton(path: Path | str) -> Skeleton:
    """The skeleton of an annotation file; DataError if it cannot be told, or is not valid."""
    first = next(decoded_lines(path, Record), None)
    if first is None:
        raise DataError(f"{path} holds no annotation; check the path")
    return skeleton_beside(path, len(first.joints))


def skeleton_beside(path: Path | str, joints: int, line: int = 1) -> Skeleton:
    """What describes the set ``path``, or ships with as many ``joints`` as its ``line`` has."""
    beside = Path(path).with_suffix(".skeleton.toml")
    if beside.is_file():
        return read_skeleton(beside)
    known = skeleton_of_size(joints)
    if known is None:
        raise DataError(
            f"{path} line {line} has {joints} joints, and not one skeleton that ships; put the "
            "set's own beside it, as NAME.skeleton.toml"
        )
    return known


def load_records(path: Path | str, split: str | None = None) -> list[Record]:
    """Read and check an annotation file; ``split`` keeps the lines of one split.

    Raises DataError naming the file and line that is wrong, or that nothing is left.
    """
    return [record for _, record in numbered_records(path, split)]


def numbered_records(path: Path | str, split: str | None = None) -> list[tuple[int, Record]]:
    """:func:`load_records` with each record's line number, counted from 0 over all splits."""
    skeleton = set_skeleton(path)
    records = []
    for number, record in enumerate(decoded_lines(path, Record), 1):
        if fault := record_fault(record, skeleton):
            raise DataError(f"{path} line {number} {fault}")
        records.append((number - 1, record))
    return of_split(path, records, split)


def decoded_lines(path: Path | str, kind: type[Line]) -> Iterator[Line]:
    """The lines of an annotation file as ``kind``; DataError naming the file and the line."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise DataError(
            f"cannot read annotations {path} ({error.strerror}); give the .jsonl of a data set"
        ) from error
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(lines, 1):
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # noqa: PERF203
            raise DataError(f"{path} line {number} is not a valid annotation: {error}") from error


def of_split(
    path: Path | str, lines: Sequence[tuple[int, Line]], split: str | None
) -> list[tuple[int, Line]]:
    """The numbered lines of one split, of all with None; DataError if none is left."""
    if not lines:
        raise DataError(f"{path} holds no annotation; check the path")
    kept = [(n, line) for n, line in lines if split is None or line.split == split]
    if not kept:
        there = ", ".join(sorted({line.split for _, line in lines}))
        raise DataError(f"{path} holds no annotation of split '{split}'; it has {there}")
    return kept


def record_fault(record: Record, skeleton: Skeleton) -> str | None:
    """What is wrong with a record that has the right fields, if anything is."""
    if len(record.joints) != len(skeleton):
        return (
            f"has {len(record.joints)} joints, the skeleton {skeleton.name} has {len(skeleton)}; "
            "put the set's own beside it, as NAME.skeleton.toml"
        )
    if record.width < 1 or record.height < 1:
        return f"gives its picture a size of {record.width} x {record.height}"
    xs = [x for x, _, v in record.joints if v > 0]
    ys = [y for _, y, v in record.joints if v > 0]
    x0, y0, x1, y1 = record.true_box or (
        min(xs, default=0),
        min(ys, default=0),
        max(xs, default=0),
        max(ys, default=0),
    )
    places = (value for x, y, _ in record.joints for value in (x, y))
    if max(map(abs, (*places, x0, y0, x1, y1))) > _FAR:
        return "has a joint or box more than a million pixels away"
    reach = _OUTSIDE * max(record.width, record.height) + 1
    for name, (x, y, v) in zip(skeleton.joints, record.joints, strict=True):
        if v > 0 and max(-x, -y, x - record.width, y - record.height) > reach:
            return (
                f"has its {name} at ({x:g}, {y:g}), outside the picture of {record.width} x "
                f"{record.height}"
            )
    if record.true_box is None and max(x1 - x0, y1 - y0) < 1:
        return "has no true_box, and labels too few joints to tell where the person is"
    if record.true_box is not None and min(x1 - x0, y1 - y0) < 1:
        return "has a true_box less than a pixel wide or high"
    return None


# What reading the heads of a made-up tar ends in, besides the errors that it is meant to.
_HOSTILE = (ValueError, EOFError, OverflowError, RecursionError)


def _fault(member: tarfile.TarInfo) -> str | None:
    """Why a member of a tar is not read, if there is a reason."""
    if not member.isreg():
        return "is a link, a device or a folder, not a picture"
    if member.issparse() or member.size > PICTURE_BYTES:
        return f"is larger than {PICTURE_BYTES >> 20} MiB"
    return None


class Pictures:
    """Encoded pictures of one set, by name; read and decoded on demand."""

    def __init__(self, annotations: Path | str) -> None:
        """Open the ``.tar`` or folder beside ``annotations`` (same stem); DataError if none."""
        self.annotations = Path(annotations)
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        tar, folder = self.annotations.with_suffix(".tar"), self.annotations.with_suffix("")
        if tar.is_file():
            try:
                # Never unpacked to disk; compressed ones, which may be bombs, are not read.
                self._tar = tarfile.open(tar, "r:")  # noqa: SIM115 - closed in close()
                self._members = {m.name: m for m in self._tar.getmembers()}
            except (tarfile.TarError, OSError, *_HOSTILE) as error:
                self.close()
                raise DataError(f"cannot read {tar}: {error}") from error
        elif not folder.is_dir():
            raise DataError(f"no pictures beside {self.annotations}: expected {tar} or {folder}/")
        self._folder = folder

    def encoded(self, name: str) -> bytes:
        """File content of one picture; DataError if it is missing or cannot be read."""
        if self._tar is not None:
            tar = self._tar.name
            try:
                member = self._members.get(name)
                if member is not None and (fault := _fault(member)):
                    raise DataError(f"{name} in {tar!s} {fault}; leave it out")
                stream = self._tar.extractfile(member) if member else None
                content = stream.read() if stream else None
            except (tarfile.TarError, OSError, *_HOSTILE) as error:
                raise DataError(f"cannot read picture {name} in {tar!s}: {error}") from error
            if content is None:
                raise DataError(f"{tar!s} holds no picture {name}")
            return content
        # A set named "lspet" may keep its pictures at lspet/im1.jpg or, name included, beside it.
        for folder in (self._folder, self._folder.parent):
            try:
                return read_bounded(inside(folder, name), PICTURE_BYTES)
            except (FileNotFoundError, NotADirectoryError):  # noqa: PERF203
                continue
            except OSError as error:
                raise DataError(f"cannot read {folder / name}: {error.strerror}") from error
        raise DataError(f"no picture {name} in {self._folder}")

    def decode(self, name: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR; DataError if missing, cut short or not a picture."""
        picture = decode_picture(self.encoded(name))
        if picture is None:
            raise DataError(f"{name} beside {self.annotations} is not a readable picture")
        return picture

    def close(self) -> None:
        """Close the tar."""
        if self._tar is not None:
            self._tar.close()

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def split_by_image(records: list[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Group records of one picture: yields (image, its records) in order of first appearance."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.image, []).append(record)
    yield from groups.items()
