"""The cascade of whichever edgepose is imported, on given boxes; for ``benchmarks/test_before.py``.

``python joints.py BOXES.npz JOINTS.npz BUNDLE``: for every clip ``boxes`` (n, 5), a frame's number
and a box; writes joints (n, k, 2) in the same order.
"""

import sys

import cv2
import numpy as np

import edgepose

asked, joints = np.load(sys.argv[1]), {}
cascade = edgepose.load(sys.argv[3], threads=1)
for clip in asked.files:
    rows = asked[clip]
    capture, found = cv2.VideoCapture(clip), np.zeros((len(rows), len(cascade.skeleton), 2))
    for number in range(int(rows[:, 0].max()) + 1):
        frame = capture.read()[1]
        here = rows[:, 0] == number
        if here.any():
            found[here] = cascade(frame, rows[here, 1:].astype(np.float32)).joints
    joints[clip] = found
np.savez(sys.argv[2], **joints)
