"""Others' annotations to ours: a .jsonl, a .tar of pictures, the skeleton; and checking ours."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgepose.data.formats import READERS, Annotation
from edgepose.data.records import (
    PICTURE_BYTES,
    Pictures,
    Record,
    record_fault,
    skeleton_beside,
)
from edgepose.errors import DataError
from edgepose.files import write_whole
from edgepose.foreign import inside, read_bounded
from edgepose.picture import decode_picture
from edgepose.skeleton import Skeleton, skeleton_spec


def convert(source: Path, kind: str, images: Path, out: Path, val: float) -> tuple[int, int]:
    """Write OUT.jsonl, OUT.tar and OUT.skeleton.toml.

    ``kind`` is one of ``READERS``; ``images`` the folder of the pictures; ``val`` the share of the
    pictures that become split "val", chosen by their names. Gives the numbers of persons and
    pictures. DataError names what is wrong and where.
    """
    skeleton, people = READERS[kind](source)
    lines, pictures = [], dict[str, tuple[int, int]]()
    try:
        with tarfile.open(out.with_suffix(".tar.part"), "w") as tar:
            for person in people:
                if person.image not in pictures:
                    pictures[person.image] = _add(tar, images, person, source)
                record = _record(person, *pictures[person.image], val)
                if fault := record_fault(record, skeleton):
                    raise DataError(f"{source}, {person.origin} {fault}")
                lines.append(msgspec.json.encode(record))
        if not lines:
            raise DataError(f"{source} holds no person with a labelled joint; check the file")
        out.with_suffix(".tar.part").replace(out.with_suffix(".tar"))
        _write_skeleton(skeleton, out.with_suffix(".skeleton.toml"))
        write_whole(out.with_suffix(".jsonl"), b"\n".join(lines) + b"\n")
    except OSError as error:
        raise DataError(f"cannot write {out} ({error.strerror}); mend that and try again") from None
    finally:
        out.with_suffix(".tar.part").unlink(missing_ok=True)
    return len(lines), len(pictures)


def faults(path: Path) -> Iterator[str]:
    """What is wrong with an annotation file of ours, line by line, pictures included."""
    skeleton: Skeleton | None = None
    decoder, sizes = msgspec.json.Decoder(Record), dict[str, tuple[int, int]]()
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot read annotations {path} ({error.strerror})") from None
    if not lines:
        yield f"{path} holds no annotation"
    with Pictures(path) as pictures:
        for number, line in enumerate(lines, 1):
            try:
                record = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                yield f"{path} line {number} is not a valid annotation: {error}"
                continue
            skeleton = skeleton or skeleton_beside(path, len(record.joints), number)
            fault = record_fault(record, skeleton) or _picture_fault(record, pictures, sizes)
            if fault:
                yield f"{path} line {number} {fault}"


def _picture_fault(
    record: Record, pictures: Pictures, sizes: dict[str, tuple[int, int]]
) -> str | None:
    """What is wrong with a record's picture; ``sizes`` (width, height) are those seen before."""
    if record.image not in sizes:
        try:
            height, width = pictures.decode(record.image).shape[:2]
        except DataError as error:
            return f"has no picture: {error}"
        sizes[record.image] = (width, height)
    width, height = sizes[record.image]
    if (width, height) == (record.width, record.height):
        return None
    return (
        f"says {record.image} is {record.width} x {record.height} pixels, it is {width} x {height}"
    )


def _add(tar: tarfile.TarFile, images: Path, person: Annotation, source: Path) -> tuple[int, int]:
    """Put a picture into the tar; gives its width and height."""
    try:
        content = read_bounded(inside(images, person.image), PICTURE_BYTES)
    except OSError as error:
        raise DataError(
            f"{source}, {person.origin}: cannot read picture {images / person.image} "
            f"({error.strerror}); give the pictures' folder as --images"
        ) from None
    picture = decode_picture(content)
    if picture is None:
        raise DataError(
            f"{source}, {person.origin}: {images / person.image} is not a readable picture"
        )
    info = tarfile.TarInfo(person.image)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    return picture.shape[1], picture.shape[0]


def _record(person: Annotation, width: int, height: int, val: float) -> Record:
    box = person.box
    if box is not None:
        x0, y0, x1, y1 = box
        box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    drawn = int(hashlib.sha256(person.image.encode()).hexdigest()[:8], 16) / 0x1_0000_0000
    split = "val" if drawn < val else "train"
    return Record(
        person.image, width, height, person.joints, true_box=box, area=person.area, split=split
    )


def _write_skeleton(skeleton: Skeleton, path: Path) -> None:
    try:
        import tomli_w
    except ImportError:
        raise DataError(
            "writing a skeleton needs tomli-w; install it with: pip install 'edgepose[train]'"
        ) from None
    plain = msgspec.to_builtins(skeleton_spec(skeleton))
    write_whole(path, tomli_w.dumps(plain).encode())
