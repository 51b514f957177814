"""Annotations as others write them: COCO keypoints, LSP and LSPET, MPII.

Each reader gives the skeleton and, per person, the picture's name and what is known; the picture's
size comes from the picture itself. One reader is one function and one line in ``READERS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import DataError
from edgepose.skeleton import COCO17, LSP14, Skeleton, load_skeleton

Joint = tuple[float, float, float]


@dataclass(frozen=True)
class Annotation:
    """One person: picture, joints ``[x, y, v]`` in pixels (see ``records``), box, name, area."""

    image: str
    joints: list[Joint]
    box: tuple[float, float, float, float] | None
    origin: str
    area: float | None = None


Found = tuple[Skeleton, Iterator[Annotation]]


def read_coco(path: Path) -> Found:
    """COCO keypoint JSON (Lin et al. 2014), of people or of whatever its category names.

    Crowds and annotations without a labelled joint are left out. A category of other joints than
    COCO's 17 makes a skeleton whose torso is the pose's extent.
    """
    whole = _json(path)
    try:
        images = {image["id"]: image for image in whole["images"]}
        category = next(c for c in whole["categories"] if "keypoints" in c)
        names, limbs = category["keypoints"], category.get("skeleton", [])
        annotations = whole["annotations"]
    except (KeyError, TypeError, StopIteration) as error:
        raise DataError(f"{path} is not a COCO keypoint file: it lacks {error}") from None
    skeleton = COCO17
    if tuple(names) != COCO17.joints:
        pairs = tuple((names[a - 1], names[b - 1]) for a, b in limbs)
        parts = tuple((f"{a} - {b}", (a, b)) for a, b in pairs)
        skeleton = Skeleton(category.get("name", path.stem), tuple(names), pairs, parts, ())
        try:
            _ = skeleton.flip
        except ValueError:
            skeleton = Skeleton(skeleton.name, skeleton.joints, pairs, parts, (), ())

    def people() -> Iterator[Annotation]:
        for a in annotations:
            try:
                values = a.get("keypoints") or []
                if a.get("iscrowd") or not any(values[2::3]):
                    continue
                x, y, w, h = a["bbox"]
                flat = np.array(values, float).reshape(-1, 3)
                joints = [(x_, y_, v) if v else (0.0, 0.0, 0.0) for x_, y_, v in flat.tolist()]
                image, area = images[a["image_id"]]["file_name"], a.get("area")
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path}, annotation {a.get('id', '?')} is not valid: {error!r}"
                ) from None
            box = None if w < 1 or h < 1 else (x, y, x + w, y + h)
            yield Annotation(image, joints, box, f"annotation {a.get('id', '?')}", area)

    return skeleton, people()


def read_lsp(path: Path) -> Found:
    """``joints.mat`` of LSP (3, 14, n) or LSPET (14, 3, n) (Johnson & Everingham 2010, 2011).

    LSP's third row is 1 where the joint is hidden, LSPET's is 1 where it is labelled.
    """
    joints = _mat(path).get("joints")
    if joints is None or joints.ndim != 3 or sorted(joints.shape[:2]) != [3, 14]:
        raise DataError(f"{path} is not LSP's joints.mat: it holds no joints of 3 x 14 x n")
    extended = joints.shape[0] == 14
    rows: NDArray[np.float64] = np.moveaxis(joints, -1, 0)
    rows = rows if extended else rows.transpose(0, 2, 1)
    digits = 5 if extended else 4

    def people() -> Iterator[Annotation]:
        for number, person in enumerate(rows.tolist(), 1):
            each = []
            for x, y, flag in person:
                v = (2 if flag else 0) if extended else (1 if flag else 2)
                each.append((x, y, float(v)) if v else (0.0, 0.0, 0.0))
            yield Annotation(f"im{number:0{digits}}.jpg", each, None, f"person {number}")

    return LSP14, people()


def read_mpii_json(path: Path) -> Found:
    """MPII (Andriluka et al. 2014) as JSON: a list of ``image``, ``joints``, ``joints_vis``.

    ``center`` and ``scale`` (person height over 200 pixels) give the box.
    """
    entries = _json(path)

    def people() -> Iterator[Annotation]:
        for number, entry in enumerate(entries):
            yield _mpii_person(path, number, entry)

    if not isinstance(entries, list):
        raise DataError(f"{path} is not MPII's JSON: it holds no list of persons")
    return load_skeleton("mpii16"), people()


def read_mpii_mat(path: Path) -> Found:
    """MPII's own .mat; persons without joints (the test part) are left out."""
    release = _mat(path, structs=True).get("RELEASE")
    if release is None:
        raise DataError(f"{path} is not MPII's .mat: it holds no RELEASE")

    def people() -> Iterator[Annotation]:
        for number, entry in enumerate(np.atleast_1d(release.annolist)):
            for rect in np.atleast_1d(entry.annorect):
                points = getattr(getattr(rect, "annopoints", None), "point", None)
                if points is None or not hasattr(rect, "objpos"):
                    continue
                joints: list[Joint] = [(0.0, 0.0, 0.0)] * 16
                for p in np.atleast_1d(points):
                    seen = 1.0 if getattr(p, "is_visible", 1) in (0, "0") else 2.0
                    joints[int(p.id)] = (float(p.x), float(p.y), seen)
                box = _mpii_box(rect.objpos.x, rect.objpos.y, rect.scale)
                yield Annotation(str(entry.image.name), joints, box, f"picture {number}")

    return load_skeleton("mpii16"), people()


READERS: dict[str, Callable[[Path], Found]] = {
    "coco": read_coco,
    "lsp": read_lsp,
    "mpii": lambda path: (read_mpii_mat if path.suffix == ".mat" else read_mpii_json)(path),
}


def _mpii_person(path: Path, number: int, entry: Any) -> Annotation:
    try:
        pairs = zip(entry["joints"], entry["joints_vis"], strict=True)
        joints = [(float(x), float(y), 2.0) if v else (0.0, 0.0, 0.0) for (x, y), v in pairs]
        x, y = entry["center"]
        box = _mpii_box(x, y, entry["scale"])
        return Annotation(entry["image"], joints, box, f"entry {number}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}, entry {number} is not valid: {error!r}") from None


def _mpii_box(x: float, y: float, scale: float) -> tuple[float, float, float, float]:
    half = 100.0 * float(scale)
    return (float(x) - half, float(y) - half, float(x) + half, float(y) + half)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from None


def _mat(path: Path, structs: bool = False) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise DataError(
            ".mat files need scipy; install it with: pip install 'edgepose[train]'"
        ) from None
    try:
        loaded: dict[str, Any] = loadmat(
            str(path), struct_as_record=not structs, squeeze_me=structs
        )
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from None
    except (MatReadError, ValueError, NotImplementedError, TypeError) as error:
        raise DataError(f"{path} is not a readable .mat file: {error}") from None
    return loaded
