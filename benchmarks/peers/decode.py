"""Decode a clip with OpenCV, nothing else; prints frames and frames per second."""

import sys
import time

import cv2

video = cv2.VideoCapture(sys.argv[1])
frames = 0
start = time.perf_counter()
while video.read()[0]:
    frames += 1
print(frames, frames / (time.perf_counter() - start))
