"""Two cameras, one cascade: ``python examples/two_cameras.py 0 rtsp://hall/live``.

Prints how many persons each has seen; ids are each camera's own.
"""

import sys
from collections import defaultdict

import edgepose


def main(sources: list[str], max_frames: int | None = None) -> dict[int, set[int]]:
    seen: dict[int, set[int]] = defaultdict(set)
    for result in edgepose.stream(sources, max_frames=max_frames):
        seen[result.source] |= {person.id for person in result.people}
    return dict(seen)


if __name__ == "__main__":
    for source, people in main(sys.argv[1:]).items():
        print(f"{sys.argv[1 + source]}: {len(people)} persons")
