"""Say when somebody lies: ``python examples/fall_alarm.py rtsp://camera/live``.

Lying: from the hips to the neck it rises by less than 35 degrees, for a second.
"""

import sys
from collections import defaultdict

import numpy as np

import edgepose


class Alarm:
    """For each person, since when they lie; each fall is told once."""

    def __init__(self, degrees: float = 35, seconds: float = 1.0) -> None:
        self.degrees, self.seconds = degrees, seconds
        self._since: dict[int, float | None] = defaultdict(lambda: None)
        self._told: set[int] = set()

    def add(self, person: int, trunk: np.ndarray, time: float) -> bool:
        """``trunk``: neck minus hips in pixels, y down. True when an alarm is due."""
        steep = np.degrees(np.arctan2(-trunk[1], abs(trunk[0])))
        if steep > self.degrees:
            self._since[person] = None
            self._told.discard(person)
            return False
        if self._since[person] is None:
            self._since[person] = time
        due = time - self._since[person] >= self.seconds and person not in self._told
        if due:
            self._told.add(person)
        return due


def main(source: str, max_frames: int | None = None) -> int:
    index, alarm, alarms = edgepose.LSP14.index, Alarm(), 0
    hips, neck = [index("left_hip"), index("right_hip")], index("neck")
    for result in edgepose.stream(source, max_frames=max_frames):
        for person in result.people:
            if person.scores[[*hips, neck]].min() > 0.3:
                trunk = person.joints[neck] - person.joints[hips].mean(0)
                if alarm.add(person.id, trunk, result.time):
                    alarms += 1
                    print(f"{result.time:.1f} s: person {person.id} lies")
    return alarms


if __name__ == "__main__":
    main(sys.argv[1])
