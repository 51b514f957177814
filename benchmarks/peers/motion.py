"""Followed persons on clips beside two peers': RTMDet's persons and MoveNet Thunder's joints.

    python benchmarks/peers/motion.py CLIP… --rtmdet rtmdet-nano-person-320.onnx \
        --thunder movenet-thunder-heads.onnx [--bundle FOLDER] [--every 4] [--sheets FOLDER]

The clips run through :func:`edgepose.stream`; every 4th frame is compared. Agreement, not truth:
the peers err too. Per clip and in all:

- ``found``: share of RTMDet's persons (score from 0.5) whom a followed person overlaps by 0.5 IoU.
- ``agree``: share of their limb joints (Thunder's score from 0.3) within 0.2 torso of Thunder's.
- ``nobody``: followed persons where RTMDet, asked for its score from 0.2, sees nobody (IoU 0.3).
- ``swapped``: pairs of limbs (both arms, both legs) that fit Thunder's better with left and right
  exchanged, per 100 persons compared.
- ``jumps``: joints that moved 0.5 torso more than Thunder's from one compared frame to the next,
  per 100 persons compared.
"""

import argparse
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import edgepose
from edgepose.crop import crop
from edgepose.geometry import box_iou, square_boxes
from edgepose.output.overlay import Overlay
from edgepose.skeleton import COCO17, LSP14
from edgepose.types import Result

PEER = LSP14.indices_in(COCO17)  # neck and head top have none
LIMBS = np.flatnonzero(PEER >= 0)
ARMS = [LSP14.index(f"{side}_{part}") for side in ("left", "right") for part in ("elbow", "wrist")]
LEGS = [LSP14.index(f"{side}_{part}") for side in ("left", "right") for part in ("knee", "ankle")]


def network(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class RTMDet:
    """Persons of a frame as (n, 5) boxes in pixels with scores."""

    side = 320

    def __init__(self, path: Path) -> None:
        self.session = network(path)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        factor = self.side / max(height, width)
        shown = np.array([[0, 0, self.side / factor, self.side / factor]], np.float32)
        mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        rgb = crop(frame, shown, self.side, mean=mean, std=std, border=(114, 114, 114))
        boxes, labels = self.session.run(None, {"input": np.ascontiguousarray(rgb[:, ::-1])})[:2]
        persons = boxes[0][labels[0] == 0]
        persons[:, :4] = np.clip(persons[:, :4] / factor, 0, [width, height, width, height])
        return persons


class Thunder:
    """Joints of the person in each box: (n, 14, 3) x, y in pixels, score; NaN for neck and head."""

    side = 256

    def __init__(self, path: Path) -> None:
        self.session = network(path)

    def __call__(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        poses = np.full((len(boxes), len(LSP14), 3), np.nan, np.float32)
        for pose, box in zip(poses, square_boxes(boxes, 1.25), strict=True):
            levels = np.round(crop(frame, box[None], self.side, border=(0, 0, 0)))
            inputs = levels.transpose(0, 2, 3, 1).astype(np.int32)
            found = self.session.run(None, {self.session.get_inputs()[0].name: inputs})[0][0, 0]
            places = found[PEER[LIMBS]]
            pose[LIMBS, 0] = box[0] + places[:, 1] * (box[2] - box[0])
            pose[LIMBS, 1] = box[1] + places[:, 0] * (box[3] - box[1])
            pose[LIMBS, 2] = places[:, 2]
        return poses


def diagonal(pose: np.ndarray) -> float:
    """The longer of the two shoulder - opposite hip diagonals, pixels."""
    ends = pose[LSP14.torso_index, :2]
    return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1).max())


@dataclass
class Counts:
    """Sums over compared frames."""

    frames: int = 0
    persons: int = 0
    found: int = 0
    joints: int = 0
    agree: int = 0
    nobody: int = 0
    swapped: int = 0
    jumps: int = 0
    last: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def add(self, people: list, persons: np.ndarray, poses: np.ndarray, faint: np.ndarray) -> None:
        """Compare the followed ``people`` of one frame with the peers' ``persons``."""
        boxes = np.array([p.box for p in people], np.float32).reshape(-1, 4)
        self.frames += 1
        self.persons += len(persons)
        self.nobody += int((box_iou(boxes, faint[:, :4]).max(1, initial=0) < 0.3).sum())
        overlap = box_iou(persons[:, :4], boxes)
        now = {}
        for row, box, pose in zip(overlap, persons, poses, strict=True):
            if not len(row) or row.max() < 0.5:
                continue
            self.found += 1
            person = people[int(row.argmax())]
            known = LIMBS[pose[LIMBS, 2] >= 0.3]
            torso = max(diagonal(pose), 0.2 * float(max(box[2] - box[0], box[3] - box[1])))
            off = np.linalg.norm(person.joints - pose[:, :2], axis=1) / torso
            self.joints += len(known)
            self.agree += int((off[known] < 0.2).sum())
            turned = np.linalg.norm(person.joints[LSP14.flip] - pose[:, :2], axis=1) / torso
            for limb in (ARMS, LEGS):
                seen = np.isin(limb, known).all()
                straight, crossed = off[limb].mean(), turned[limb].mean()
                self.swapped += int(seen and straight > 0.3 and crossed < 0.5 * straight)
            if person.id in self.last:
                mine, theirs = self.last[person.id]
                own = np.linalg.norm(person.joints - mine, axis=1) / torso
                peer = np.linalg.norm(pose[:, :2] - theirs, axis=1) / torso
                self.jumps += int((own[known] - peer[known] > 0.5).sum())
            now[person.id] = person.joints.copy(), pose[:, :2]
        self.last = now

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            *(a + b for a, b in zip(astuple(self)[:-1], astuple(other)[:-1], strict=True))
        )

    def row(self, name: str) -> str:
        hundred = 100 / max(self.found, 1)
        return (
            f"{name:24} {self.frames:6} {self.persons:7} "
            f"{100 * self.found / max(self.persons, 1):6.1f} "
            f"{100 * self.agree / max(self.joints, 1):6.1f} {self.nobody:7} "
            f"{self.swapped * hundred:8.1f} {self.jumps * hundred:6.1f}"
        )


def sheet(tiles: list[np.ndarray], columns: int = 8) -> np.ndarray:
    """Tiles of one size beside and below each other."""
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def drawn(result: Result, height: int = 300) -> np.ndarray:
    """The frame with its skeletons, small: blue is the person's own left, red the right."""
    frame = Overlay(LSP14, labels=False).draw(result.frame.copy(), result.people)
    width = round(frame.shape[1] * height / frame.shape[0])
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    cv2.putText(small, str(result.index), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 255, 255))
    return small


def main() -> Iterator[str]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--rtmdet", type=Path, required=True)
    parser.add_argument("--thunder", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--sheets", type=Path, help="write a sheet of every 5th frame per clip")
    options = parser.parse_args()
    persons_of, joints_of = RTMDet(options.rtmdet), Thunder(options.thunder)
    yield f"{'clip':24} frames persons  found  agree  nobody  swapped  jumps"
    total = Counts()
    for clip in options.clips:
        counts, tiles = Counts(), []
        for result in edgepose.stream(clip, bundle=options.bundle):
            if options.sheets and result.index % 5 == 0:
                tiles.append(drawn(result))
            if result.index % options.every:
                continue
            seen = persons_of(result.frame)
            persons = seen[seen[:, 4] >= 0.5]
            poses = joints_of(result.frame, persons[:, :4])
            counts.add(result.people, persons, poses, seen[seen[:, 4] >= 0.2])
        if tiles:
            options.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(options.sheets / f"{Path(clip).stem}.png"), sheet(tiles))
        yield counts.row(Path(clip).name)
        total = total + counts
    yield total.row("all")


if __name__ == "__main__":
    for line in main():
        print(line, flush=True)
