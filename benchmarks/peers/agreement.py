"""How often each joint of one person lies near a peer's: agreement, not truth.

    edgepose-run --source sample --json poses.jsonl
    .venv-peers/bin/python benchmarks/peers/mediapipe_pose.py edgepose/assets/sample.mp4 peer.jsonl
    python benchmarks/peers/agreement.py poses.jsonl peer.jsonl

The person is the one with the id given as third argument, 1 if there is none.
"""

import json
import sys
from pathlib import Path

import numpy as np

header, *frames = (json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines())
peer = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 1
names = [name for name in header["joints"] if any(p and name in p for p in peer)]
errors = []
for frame, other in zip(frames, peer, strict=True):
    ours = [person["joints"] for person in frame["persons"] if person["id"] == wanted]
    if not ours or other is None:
        continue
    mine = np.array([ours[0][header["joints"].index(name)][:2] for name in names])
    theirs = np.array([other[name] for name in names])
    place = dict(zip(names, theirs, strict=True))
    torso = max(
        np.linalg.norm(place["left_shoulder"] - place["right_hip"]),
        np.linalg.norm(place["right_shoulder"] - place["left_hip"]),
    )
    errors.append(np.linalg.norm(mine - theirs, axis=1) / torso)
distances = np.array(errors)
print(f"{len(distances)} of {len(frames)} frames; share within 0.2 and 0.5 torso diameters")
for name, column in zip(names, distances.T, strict=True):
    print(f"{name:16} {(column < 0.2).mean():5.2f} {(column < 0.5).mean():5.2f}")
print(f"{'all':16} {(distances < 0.2).mean():5.2f} {(distances < 0.5).mean():5.2f}")
