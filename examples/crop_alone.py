"""The crop kernel by itself, in front of any network: ``python examples/crop_alone.py photo.jpg``.

Cuts four quarters of a picture to 64 x 64, normalised as ImageNet networks want them.
"""

import sys

import cv2
import numpy as np

from edgepose.crop import crop, info

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(picture: str) -> np.ndarray:
    frame = cv2.imread(picture)
    height, width = frame.shape[:2]
    x, y = width / 2, height / 2
    boxes = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    return crop(frame, np.array(boxes, np.float32), 64, scale=1 / 255, mean=MEAN, std=STD)


if __name__ == "__main__":
    crops = main(sys.argv[1])
    print(crops.shape, crops.dtype, f"by the {info().path} path")
