"""Results as COCO keypoint annotations (cocodataset.org/#format-data)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
import numpy as np

from edgepose.errors import OutputError
from edgepose.files import STDOUT, check_writable, unwritable, write_whole
from edgepose.output.sink import Sink
from edgepose.types import Result, RunInfo


class CocoFile(Sink):
    """One JSON document, which takes its place whole when the run ends.

    Until then what it will hold waits in temporary files, so that memory does not grow. Keypoints
    are (x, y, 2) in frame pixels; each annotation also carries ``score``, ``keypoint_scores`` and
    ``track_id``, each image ``source``, ``frame`` and ``t``.
    """

    pixels = False

    def __init__(self, path: str) -> None:
        """Check that ``path`` can be written; OutputError if not."""
        self.path = self._file = Path(path)
        if self._file == STDOUT:
            raise OutputError("--coco writes one document at the end; give it a file, not '-'.")
        check_writable(self._file)
        self._encode = msgspec.json.Encoder().encode
        self._images: IO[bytes] | None = None
        self._people: IO[bytes] | None = None
        self._count = self._persons = 0

    def start(self, run: RunInfo) -> None:
        """Begin; the file itself is not touched before the end."""
        self._names = [source.name for source in run.sources]
        skeleton = run.skeleton
        self._category = {
            "id": 1,
            "name": "person",
            "supercategory": "person",
            "keypoints": skeleton.joints,
            "skeleton": (np.asarray(skeleton.limb_index) + 1).tolist(),
        }
        self._images = tempfile.TemporaryFile()  # noqa: SIM115 - close() ends it
        self._people = tempfile.TemporaryFile()  # noqa: SIM115

    def write(self, result: Result) -> bool:
        """Add one frame. OutputError when the disk with the temporary files is full."""
        assert self._images is not None
        assert self._people is not None
        self._count += 1
        height, width = result.image.shape[:2]
        name = result.name or f"{self._names[result.source]}#{result.index}"
        image = {
            "id": self._count,
            "file_name": name,
            "width": width,
            "height": height,
            "source": result.source,
            "frame": result.index,
            "t": round(result.time, 4),
        }
        people = b""
        for person in result.people:
            if not (np.isfinite(person.joints).all() and np.isfinite(person.box).all()):
                continue
            self._persons += 1
            box = person.box.astype(np.float64)
            size = np.maximum(box[2:] - box[:2], 0)
            joints = np.full((len(person.joints), 3), 2.0)
            joints[:, :2] = person.joints
            annotation = {
                "id": self._persons,
                "image_id": self._count,
                "category_id": 1,
                "keypoints": joints.round(2).ravel().tolist(),
                "num_keypoints": len(joints),
                "bbox": [*box[:2].round(2).tolist(), *size.round(2).tolist()],
                "area": round(float(size.prod()), 1),
                "iscrowd": 0,
                "score": round(float(person.score), 3),
                "keypoint_scores": np.nan_to_num(person.scores.astype(float)).round(3).tolist(),
                "track_id": person.id,
            }
            people += b",\n" * (self._persons > 1) + self._encode(annotation)
        try:
            self._images.write(b",\n" * (self._count > 1) + self._encode(image))
            self._people.write(people)
        except OSError as error:
            raise unwritable(Path(tempfile.gettempdir()), error) from None
        return True

    def close(self) -> None:
        """Put the whole document in its place; OutputError if the disk is full."""
        if self._images is None or self._people is None:
            return
        images, people = self._images, self._people
        self._images = self._people = None

        def fill(file: BinaryIO) -> None:
            file.write(b'{"info":{"description":"edgepose"},"categories":')
            file.write(self._encode([self._category]))
            for key, part in ((b"images", images), (b"annotations", people)):
                file.write(b',"' + key + b'":[\n')
                part.seek(0)
                while chunk := part.read(1 << 20):
                    file.write(chunk)
                file.write(b"]")
            file.write(b"}\n")

        try:
            write_whole(self._file, fill)
        except OSError as error:
            raise unwritable(self._file, error) from None
        finally:
            images.close()
            people.close()
