"""Who is lost from sight for a while: whether the own id comes back, with colours and without.

    pytest benchmarks/test_lost.py -s

First in made-up scenes, many of each kind; then on a clip of persons in a laboratory
(``EDGEPOSE_CLIPS=FOLDER`` with Pose2Sim's ``multi_cam01.mp4``), in which the man is painted over
for a second and a half and comes back, himself or in other colours.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgepose
from edgepose.people.tracker import Tracker
from edgepose.skeleton import COCO17
from tests.people.world import Actor, World

SCENES = 40
CLIPS = os.environ.get("EDGEPOSE_CLIPS")


def passing(random):
    """Two pass each other."""
    speeds, off = random.uniform(60, 350, 2), random.uniform(-15, 15)
    return (
        lambda t: (960 + speeds[0] * (t - 2), 540 + off),
        lambda t: (960 - speeds[1] * (t - 2), 540.0),
    )


def stopping(random):
    """One stops behind another who stands, and goes on or turns back."""
    speed, wait, way = random.uniform(100, 350), random.uniform(0.2, 1.2), random.choice([-1, 1])
    off = random.uniform(-15, 15)

    def behind(t):
        if t < 2:
            return 960 - speed * (2 - t), 540 + off
        return 960 + way * speed * max(t - 2 - wait, 0), 540 + off

    return lambda t: (960.0, 540.0), behind


def turning(random):
    """Two meet and both turn back."""
    speeds, wait, off = random.uniform(80, 300, 2), random.uniform(0, 0.8), random.uniform(-15, 15)

    def path(side, speed, y):
        return lambda t: (960 + side * speed * max(2 - t, t - 2 - wait, 0), y)

    return path(-1, speeds[0], 540.0), path(1, speeds[1], 540 + off)


def replaced(random):
    """One goes out behind another who stands; a stranger comes out."""
    speed, gap, pace = random.uniform(100, 350), random.uniform(0.4, 2.5), random.uniform(100, 300)
    return (
        lambda t: (960.0, 540.0),
        lambda t: (960 - speed * (2 - t), 540.0) if t < 2 else None,
        lambda t: None if t < 2 + gap else (1080 + pace * (t - 2 - gap), 540.0),
    )


def outcome(kind, seed: int, coloured: bool) -> str:
    """Whether everybody's last id is the own first one."""
    random = np.random.default_rng(seed)
    actors = [Actor(path, random.uniform(360, 440)) for path in kind(random)]
    frames = World(*actors, seed=seed, coloured=coloured).run(Tracker(COCO17), 5)
    # While they are in one place nobody can say whose skeleton is whose.
    early, late = {}, {}
    for n, frame in enumerate(frames):
        if n < 1.2 * 30:
            early |= frame
        elif n > 4.5 * 30:
            late |= frame
    if any(early.get(number, actor) != actor for number, actor in late.items()):
        return "taken by another"
    first = {actor: number for number, actor in early.items()}
    new = any(first.get(actor, number) != number for number, actor in late.items())
    return "new" if new else "kept"


@pytest.mark.parametrize("kind", [passing, stopping, turning, replaced])
def test_made_up_scenes(benchmark, capsys, kind):
    def both() -> list[Counter[str]]:
        return [Counter(outcome(kind, s, c) for s in range(SCENES)) for c in (False, True)]

    without, coloured = benchmark.pedantic(both, rounds=1)
    benchmark.extra_info |= {"without colours": dict(without), "with": dict(coloured)}
    with capsys.disabled():
        print(f"\n{kind.__name__}: without colours {dict(without)}, with {dict(coloured)}")
    assert coloured["taken by another"] == 0
    assert coloured["kept"] >= max(0.9 * SCENES, without["kept"])


HIDDEN = range(30, 60)


def hidden(path: Path, clip: Path, turned: bool) -> Path:
    """``clip`` there and back at 20 frames a second, without its man in ``HIDDEN``.

    ``turned``: when he is there again, his colours are not.
    """
    capture, frames = cv2.VideoCapture(str(clip)), []
    while len(frames) < 36:
        frames.append(capture.read()[1])
    capture.release()
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (width, height))
    for n in range(110):
        frame = frames[35 - abs(n % 70 - 35)].copy()
        man = frame[230:1200, 160:720]
        if n in HIDDEN:
            man[:] = frame[230:1200, 720:721]
        elif n > HIDDEN[-1] and turned:
            man[:] = man[..., [1, 2, 0]]
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_a_man_who_is_hidden(benchmark, tmp_path, turned):
    """That is longer than an id waits for a person of whom nothing is known."""
    if CLIPS is None:
        pytest.skip("set EDGEPOSE_CLIPS to the folder of the clips")
    clip = hidden(tmp_path / "hidden.mp4", Path(CLIPS, "multi_cam01.mp4"), turned)
    results = benchmark.pedantic(lambda: list(edgepose.stream(clip)), rounds=1)
    # His head is above everybody's, and right of the bystander's.
    men = [[p.id for p in r.people if p.box[1] < 500 and p.box[0] > 100] for r in results]
    before, after = ({i for own in men[a:b] for i in own} for a, b in ((20, 30), (95, 110)))
    assert len(before) == len(after) == 1
    assert not any(men[36:60])
    assert (before == after) is not turned
