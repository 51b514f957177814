"""The crop kernel by itself: faces, plates, parts of any picture as one batch for any network.

    python examples/crop_alone.py picture.jpg --box 10 20 90 140 --box 200 40 260 90 --out sheet.png

Needs no model, no person, no GPU. Boxes are edges in pixels and may reach beyond the picture.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

import edgepose


def batch(picture: np.ndarray, boxes: list[list[float]], size: int) -> np.ndarray:
    """(n, 3, size, size) float32 RGB as networks trained on ImageNet want it."""
    return edgepose.crop.crop(
        picture,
        np.array(boxes, np.float32),
        size,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def sheet(picture: np.ndarray, boxes: list[list[float]], size: int) -> np.ndarray:
    """The crops side by side, (size, n·size, 3) uint8 BGR, black beyond the picture."""
    crops = edgepose.crop.crop(picture, np.array(boxes, np.float32), size, border=(0, 0, 0))
    rows = np.concatenate(list(crops.transpose(0, 2, 3, 1)), axis=1)
    return rows[..., ::-1].round().astype(np.uint8)


def main(arguments: list[str] | None = None) -> np.ndarray:
    """Read the command line, cut, write the sheet, and give the batch."""
    parser = argparse.ArgumentParser(description="Cut boxes out of a picture.")
    parser.add_argument("picture")
    edges = ("X0", "Y0", "X1", "Y1")
    parser.add_argument("--box", type=float, nargs=4, action="append", required=True, metavar=edges)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", default="sheet.png")
    given = parser.parse_args(arguments)
    picture = cv2.imread(given.picture)
    if picture is None:
        parser.error(f"{given.picture} is no picture that can be read")
    cv2.imwrite(given.out, sheet(picture, given.box, given.size))
    crops = batch(picture, given.box, given.size)
    print(f"{crops.shape} {crops.dtype} by the path {edgepose.crop.info().path}; see {given.out}")
    return crops


if __name__ == "__main__":
    main()
