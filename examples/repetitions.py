"""Count the repetitions of an exercise: ``python examples/repetitions.py squats.mp4``.

A repetition is a bend of the knee below 100 degrees after it was straighter than 150.
"""

import sys

import numpy as np

import edgepose


class Repetitions:
    """Counts how often an angle falls below ``low`` after it was above ``high``, both degrees."""

    def __init__(self, low: float = 100, high: float = 150) -> None:
        self.low, self.high, self.count, self._straight = low, high, 0, False

    def add(self, angle: float) -> None:
        """Take the next frame's angle."""
        if angle > self.high:
            self._straight = True
        elif angle < self.low and self._straight:
            self.count, self._straight = self.count + 1, False


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Degrees at b between a and c, each (2,)."""
    u, v = a - b, c - b
    cosine = u @ v / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def main(source: str, max_frames: int | None = None) -> int:
    index = edgepose.LSP14.index
    leg = [index(f"right_{part}") for part in ("hip", "knee", "ankle")]
    done = Repetitions()
    for result in edgepose.stream(source, max_persons=1, max_frames=max_frames):
        for person in result.people:
            if person.scores[leg].min() > 0.3:
                done.add(angle(*person.joints[leg]))
    return done.count


if __name__ == "__main__":
    print(main(sys.argv[1]), "repetitions")
