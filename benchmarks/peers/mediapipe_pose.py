"""MediaPipe Pose (full) on a clip as its users run it: prints poses found and frames per second.

Needs an environment of its own: ``pip install mediapipe==0.10.14``.
"""

import sys
import time

import cv2
import mediapipe
import numpy as np

with mediapipe.solutions.pose.Pose(model_complexity=1) as pose:
    pose.process(np.zeros((64, 64, 3), np.uint8))  # loads the networks
    video = cv2.VideoCapture(sys.argv[1])
    frames = found = 0
    start = time.perf_counter()
    while True:
        ok, frame = video.read()
        if not ok:
            break
        result = pose.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        frames += 1
        found += result.pose_landmarks is not None
    print(found, frames / (time.perf_counter() - start))
