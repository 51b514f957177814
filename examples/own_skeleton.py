"""A skeleton of one's own: ``python examples/own_skeleton.py cat.png``.

Any skeleton that a TOML describes can be trained (``edgepose-data convert``, ``edgepose-train``);
this one draws the joints of a cat at made-up places.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from edgepose.output.overlay import Overlay
from edgepose.skeleton import Skeleton, load_skeleton
from edgepose.types import Person

CAT = """
name = "cat"
joints = ["nose", "left_ear", "right_ear", "neck", "tail", "left_paw", "right_paw"]
limbs = [["nose", "neck"], ["left_ear", "neck"], ["right_ear", "neck"], ["neck", "tail"],
         ["left_paw", "neck"], ["right_paw", "neck"]]
torso = [["neck", "tail"]]
"""
PLACES = [(60, 60), (80, 30), (50, 30), (100, 80), (260, 70), (110, 160), (140, 160)]


def main(picture: Path) -> Skeleton:
    description = picture.with_suffix(".toml")
    description.write_text(CAT)
    skeleton = load_skeleton(str(description))
    joints = np.array(PLACES, np.float32)
    box = np.array([40, 20, 280, 170], np.float32)
    view = np.full((200, 320, 3), 255, np.uint8)
    person = Person(1, box, 1.0, joints, np.ones(len(skeleton), np.float32))
    Overlay(skeleton).draw(view, [person])
    cv2.imwrite(str(picture), view)
    return skeleton


if __name__ == "__main__":
    main(Path(sys.argv[1]))
