"""Encoded pictures to pixels, with the damage that decoders pass over in silence found out."""

from __future__ import annotations

import cv2
import numpy as np

from edgepose.types import Image, as_image

# A file's end mark is looked for in its last bytes only: previews inside carry one as well.
_TAIL = 64 * 1024


def decode_picture(data: bytes) -> Image | None:
    """(H, W, 3) uint8 BGR, EXIF rotation applied; None if damaged, cut short or no picture."""
    # The decoders fill up a file that was cut short with grey and complain on stderr themselves.
    tail = data[-_TAIL:]
    if (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in tail) or (
        data[:4] == b"\x89PNG" and b"IEND" not in tail
    ):
        return None
    try:
        # An empty file, or one of absurd size, is an error of OpenCV's own.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else as_image(image)
