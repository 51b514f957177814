"""A made-up scene for the tracker: upright persons on paths, with a detector and a cascade."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgepose.geometry import box_iou, person_boxes
from edgepose.people.tracker import Tracker
from edgepose.skeleton import COCO17

_PLACES = {
    "nose": (0.0, -0.45),
    "eye": (0.02, -0.47),
    "ear": (0.04, -0.46),
    "shoulder": (0.1, -0.32),
    "elbow": (0.13, -0.16),
    "wrist": (0.14, -0.02),
    "hip": (0.07, 0.02),
    "knee": (0.08, 0.24),
    "ankle": (0.08, 0.46),
}


def standing(centre, height: float) -> np.ndarray:
    """(17, 2) float32 joints of a person who stands at ``centre`` (x, y), in pixels."""
    joints = []
    for name in COCO17.joints:
        x, y = _PLACES[name.removeprefix("left_").removeprefix("right_")]
        joints.append((-x if name.startswith("right_") else x, y))
    return (np.array(joints) * height + np.asarray(centre)).astype(np.float32)


@dataclass
class Actor:
    """``path(t)`` gives the centre, or None while the person is out of sight."""

    path: Callable[[float], tuple[float, float] | None]
    height: float = 400.0
    phantom: bool = False  # the detector sees it, the cascade does not
    sure: float = 0.8  # the scores of detector and cascade

    def joints(self, t: float):
        centre = self.path(t)
        return None if centre is None else standing(centre, self.height)


class World:
    """Actors from front to back: who is mostly behind another is seen by nobody."""

    def __init__(
        self, *actors: Actor, size=(1920, 1080), fps=30.0, noise=2.0, seed=0, coloured=False
    ) -> None:
        self.actors, self.size, self.fps, self.coloured = actors, size, fps, coloured
        self.random = np.random.default_rng(seed)
        self.noise = noise

    def seen(self, t: float) -> list[tuple[int, np.ndarray]]:
        seen: list[tuple[int, np.ndarray]] = []
        for i, actor in enumerate(self.actors):
            joints = actor.joints(t)
            if joints is None:
                continue
            box = person_boxes(joints)
            if any(box_iou(box[None], person_boxes(j)[None])[0, 0] > 0.4 for _, j in seen):
                continue
            seen.append((i, joints))
        return seen

    def detect(self, t: float) -> np.ndarray:
        rows = []
        for actor, joints in self.seen(t):
            box = person_boxes(joints)
            box = box + self.random.normal(0, 0.02, 4) * (box[3] - box[1])
            rows.append([*box, self.actors[actor].sure])
        return np.array(rows, np.float32).reshape(-1, 5)

    def colours(self, t: float) -> np.ndarray | None:
        """Of those whom :meth:`detect` gives: each wears a colour of their own."""
        if not self.coloured:
            return None
        return np.eye(len(self.actors), dtype=np.float32)[[i for i, _ in self.seen(t)]]

    def estimate(self, t: float, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pose of whoever fills a box best; a poor one where nobody does."""
        seen = [s for s in self.seen(t) if not self.actors[s[0]].phantom]
        joints = np.zeros((len(boxes), 17, 2), np.float32)
        scores = np.full((len(boxes), 17), 0.05, np.float32)
        for row, box in enumerate(boxes):
            shares = [box_iou(box[None], person_boxes(j)[None])[0, 0] for _, j in seen]
            if shares and max(shares) > 0.25:
                actor, joints[row] = seen[int(np.argmax(shares))]
                scores[row] = self.actors[actor].sure
            else:
                joints[row] = standing((box[:2] + box[2:]) / 2, (box[3] - box[1]) / 1.25)
        return joints + self.random.normal(0, self.noise, joints.shape).astype(np.float32), scores

    def run(self, tracker: Tracker, seconds: float, start: float = 0.0) -> list[dict[int, int]]:
        """Track for ``seconds``: for each frame {id: actor nearest to that person}."""
        frames = []
        for n in range(round(seconds * self.fps)):
            t = start + n / self.fps
            looks = tracker.wants_detector()
            found = (self.detect(t), self.colours(t)) if looks else (None, None)
            boxes = tracker.propose(t, *found)
            joints, scores = self.estimate(t, boxes)
            people = tracker.update(t, joints, scores, self.size)
            frame = {}
            for person in people:
                distances = {
                    i: np.linalg.norm(a.joints(t) - person.joints, axis=1).mean()
                    for i, a in enumerate(self.actors)
                    if a.path(t) is not None
                }
                frame[person.id] = min(distances, key=distances.get) if distances else -1
            frames.append(frame)
        return frames
