"""Two cameras, one cascade: who is where, once a second.

    python examples/two_cameras.py 0 rtsp://cam-2/live

The frames at hand of all sources go through the networks together. A camera that is lost is opened
again; the other goes on meanwhile.
"""

from __future__ import annotations

import argparse
from collections import Counter

import edgepose


def watch(sources: list[str], every: float = 1.0) -> Counter[int]:
    """Frames of each source; prints the persons of each every so many seconds."""
    frames: Counter[int] = Counter()
    due = dict.fromkeys(range(len(sources)), 0.0)
    for result in edgepose.stream(sources):
        frames[result.source] += 1
        if result.time < due[result.source]:
            continue
        due[result.source] = result.time + every
        seen = ", ".join(
            f"person {p.id} at ({(p.box[0] + p.box[2]) / 2:.0f}, {(p.box[1] + p.box[3]) / 2:.0f})"
            for p in result.people
        )
        print(f"{result.time:6.2f} s  {sources[result.source]}: {seen or 'nobody'}")
    return frames


def main(arguments: list[str] | None = None) -> Counter[int]:
    """Read the command line, watch, and give the numbers of frames."""
    parser = argparse.ArgumentParser(description="Who is where in front of several cameras.")
    parser.add_argument("sources", nargs="*", default=["sample", "sample"])
    return watch(parser.parse_args(arguments).sources)


if __name__ == "__main__":
    main()
