"""Count the repetitions of an exercise: how often a joint's angle bends and straightens again.

    python examples/count_repetitions.py squats.mp4 --joints left_hip left_knee left_ankle

Two thresholds, so that an angle that trembles about one of them is not counted twice. Without
arguments: how often the man of the clip that ships bends his hip.
"""

from __future__ import annotations

import argparse

import numpy as np

import edgepose


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """The angle at ``b`` in degrees; points (2,) in pixels."""
    u, v = a - b, c - b
    cosine = np.dot(u, v) / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def count(source: str, joints: list[str], bent: float, straight: float) -> dict[int, int]:
    """Whole repetitions of each person, by id."""
    index = [edgepose.LSP14.index(name) for name in joints]
    counts: dict[int, int] = {}
    down: set[int] = set()
    for result in edgepose.stream(source):
        for person in result.people:
            counts.setdefault(person.id, 0)
            if person.scores[index].min() < 0.3:
                continue  # a joint that is hidden says nothing
            now = angle(*person.joints[index])
            if now < bent:
                down.add(person.id)
            elif now > straight and person.id in down:
                down.remove(person.id)
                counts[person.id] += 1
                print(f"{result.time:6.2f} s  person {person.id}: {counts[person.id]}")
    return counts


def main(arguments: list[str] | None = None) -> dict[int, int]:
    """Read the command line, count, and give the counts."""
    parser = argparse.ArgumentParser(description="Count the repetitions of an exercise.")
    parser.add_argument("source", nargs="?", default="sample")
    hip = ["right_shoulder", "right_hip", "right_knee"]
    parser.add_argument("--joints", nargs=3, default=hip, metavar="JOINT")
    parser.add_argument("--bent", type=float, default=145, help="degrees")
    parser.add_argument("--straight", type=float, default=160, help="degrees")
    given = parser.parse_args(arguments)
    return count(given.source, given.joints, given.bent, given.straight)


if __name__ == "__main__":
    main()
