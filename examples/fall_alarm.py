"""Sound an alarm when somebody lies: the torso stays nearer to level than to upright.

    python examples/fall_alarm.py rtsp://cam-1/live --seconds 2

An example of how to read poses, not a medical device: measure how often it is wrong in your rooms,
with your people, before anybody relies on it.
"""

from __future__ import annotations

import argparse

import numpy as np

import edgepose

SHOULDERS = [edgepose.LSP14.index(f"{side}_shoulder") for side in ("left", "right")]
HIPS = [edgepose.LSP14.index(f"{side}_hip") for side in ("left", "right")]


def tilt(joints: np.ndarray) -> float:
    """Degrees between the torso and upright: 0 stands, 90 lies; ``joints`` (14, 2) pixels."""
    x, y = joints[SHOULDERS].mean(0) - joints[HIPS].mean(0)
    return float(np.degrees(np.arctan2(abs(x), -y)))


def watch(source: str, seconds: float, limit: float) -> list[tuple[float, int]]:
    """Times and persons of the alarms; each fall sounds once."""
    since: dict[int, float] = {}
    sounded: set[int] = set()
    alarms = []
    for result in edgepose.stream(source):
        for person in result.people:
            if tilt(person.joints) < limit:
                since.pop(person.id, None)
                sounded.discard(person.id)
                continue
            lain = result.time - since.setdefault(person.id, result.time)
            if lain >= seconds and person.id not in sounded:
                sounded.add(person.id)
                alarms.append((result.time, person.id))
                print(f"{result.time:6.2f} s  person {person.id} has lain for {lain:.1f} s")
    return alarms


def main(arguments: list[str] | None = None) -> list[tuple[float, int]]:
    """Read the command line, watch, and give the alarms."""
    parser = argparse.ArgumentParser(description="Sound an alarm when somebody lies.")
    parser.add_argument("source", nargs="?", default="sample")
    parser.add_argument("--seconds", type=float, default=2.0, help="so long, before it sounds")
    parser.add_argument("--limit", type=float, default=55.0, help="degrees from upright")
    given = parser.parse_args(arguments)
    return watch(given.source, given.seconds, given.limit)


if __name__ == "__main__":
    main()
