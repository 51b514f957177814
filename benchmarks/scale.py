"""What a frame costs: the processor's time, memory and bytes that docs/scale.md reckons with.

    python benchmarks/scale.py

Runs the clip that ships (1080 x 1920, two persons) through `edgepose.stream` on one thread a
network, several ways, interleaved, and prints the median over rounds of all threads' processor time
for a frame, from the first result on: loading the networks is told apart.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import cv2

import edgepose
from edgepose.output.jsonl import JsonLines
from edgepose.output.parquet import ParquetFile
from edgepose.output.sink import without_pixels
from edgepose.types import RunInfo, SourceInfo

WAYS = {
    "1080p, two persons": ("whole", {}),
    "1080p, one person": ("whole", {"max_persons": 1}),
    "540p, two persons": ("half", {}),
    "540p, one person": ("half", {"max_persons": 1}),
    "1080p, two persons, detector every 60": ("whole", {"detect_every": 60}),
}


def half_size(target: Path) -> Path:
    """The clip at half its width and height, compressed by the same codec family."""
    with edgepose.open_source("sample") as source:
        size = (source.width // 2, source.height // 2)
        writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), source.fps, size)
        for frame in source:
            writer.write(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))
        writer.release()
    return target


def milliseconds(source: str, options: dict[str, int]) -> tuple[float, list[edgepose.Result]]:
    """Processor time of a frame, decoding included, and the results."""
    results = []
    begun = 0.0
    for result in edgepose.stream(source, threads=1, **options):
        begun = begun or time.process_time()
        results.append(without_pixels(result))
        del result
    return 1000 * (time.process_time() - begun) / (len(results) - 1), results


def bytes_of(results: list[edgepose.Result], kind: type, path: Path) -> float:
    """Bytes of a frame in a file."""
    height, width = results[0].frame.shape[:2]
    run = RunInfo("b", "b", edgepose.LSP14, (SourceInfo("sample", width, height, 60.0),))
    sink = kind(str(path))
    sink.start(run)
    for result in results:
        sink.write(result)
    sink.close()
    return path.stat().st_size / len(results)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a frame costs.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        sources = {"whole": "sample", "half": str(half_size(Path(folder) / "half.mp4"))}
        measured: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, (source, options) in WAYS.items():
                spent, results = milliseconds(sources[source], options)
                measured[way].append(spent)
                if way == "1080p, two persons":
                    assert sum(len(r.people) for r in results) > 1.8 * len(results)
                    kept = results
                del results
        for way, spent in measured.items():
            print(f"{statistics.median(spent):6.1f} ms  {way}  {[round(s, 1) for s in spent]}")
        for name, kind in (("JSON lines", JsonLines), ("Parquet", ParquetFile)):
            print(f"{bytes_of(kept, kind, Path(folder) / 'out'):6.0f} bytes a frame, {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:6.0f} MB at most")


if __name__ == "__main__":
    main()
