"""MediaPipe Pose (full) on a clip as its users run it: prints poses found and frames per second.

Needs an environment of its own: ``pip install mediapipe==0.10.14``. With a second argument the
joints go there, one JSON object per frame ({name: [x, y]} in pixels, or null).
"""

import json
import sys
import time

import cv2
import mediapipe
import numpy as np

JOINTS = {
    f"{side}_{part}": 11 + 2 * i + (side == "right")
    for i, part in (
        (0, "shoulder"),
        (1, "elbow"),
        (2, "wrist"),
        (6, "hip"),
        (7, "knee"),
        (8, "ankle"),
    )
    for side in ("left", "right")
}

poses = []
with mediapipe.solutions.pose.Pose(model_complexity=1) as pose:
    pose.process(np.zeros((64, 64, 3), np.uint8))  # loads the networks
    video = cv2.VideoCapture(sys.argv[1])
    start = time.perf_counter()
    while True:
        ok, frame = video.read()
        if not ok:
            break
        found = pose.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).pose_landmarks
        size = frame.shape[1], frame.shape[0]
        poses.append((size, found.landmark if found else None))
    rate = len(poses) / (time.perf_counter() - start)
print(sum(landmarks is not None for _, landmarks in poses), rate)
if len(sys.argv) > 2:
    with open(sys.argv[2], "w") as out:
        for (width, height), landmarks in poses:
            line = landmarks and {
                name: [landmarks[i].x * width, landmarks[i].y * height]
                for name, i in JOINTS.items()
            }
            out.write(json.dumps(line) + "\n")
