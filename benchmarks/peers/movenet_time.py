"""The whole cascade's time for one and for four persons against MoveNet's network, interleaved.

    EDGEPOSE_MOVENET=movenet.onnx python benchmarks/peers/movenet_time.py [--bundle FOLDER]

The cascade cuts its crops itself, from the sample's first frame; the peer gets its crop ready made.
Prints medians in milliseconds and their ratios, for one and for two threads.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import onnxruntime

import edgepose
from edgepose.sources.open import open_source

PERSON = np.array([[230, 310, 575, 1180]], np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    frame = next(iter(open_source("sample"))).image
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        peer = onnxruntime.InferenceSession(
            os.environ["EDGEPOSE_MOVENET"], options, providers=["CPUExecutionProvider"]
        )
        given = peer.get_inputs()[0]
        cut = np.zeros([1, *given.shape[1:]], np.int32 if "int32" in given.type else np.float32)
        cascade = edgepose.load(arguments.bundle, threads=threads)
        calls = {
            "peer": lambda peer=peer, name=given.name, cut=cut: peer.run(None, {name: cut}),
            "one person": lambda cascade=cascade: cascade(frame, PERSON),
            "four persons": lambda cascade=cascade: cascade(frame, PERSON.repeat(4, 0)),
        }
        times = {name: [] for name in calls}
        for _ in range(arguments.rounds):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
        medians = {name: float(np.median(spent)) for name, spent in times.items()}
        for name, median in medians.items():
            print(f"{threads} threads  {name:13} {median:7.2f} ms  {median / medians['peer']:.2f}")


if __name__ == "__main__":
    main()
