"""Frames as cameras and decoders give them: a plane of luma, a plane of chroma half its size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Standard = Literal["bt601", "bt709"]

_LUMA_SHARES: dict[Standard, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}


def matrix(standard: Standard) -> NDArray[np.float64]:
    """(3, 3): RGB in 8-bit levels is this times YUV less (16, 128, 128)."""
    kr, kb = _LUMA_SHARES[standard]
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    unscaled = [[1, 0, red], [1, -kb / kg * blue, -kr / kg * red], [1, blue, 0]]
    return np.array(unscaled) * 255 / [219, 224, 224]


@dataclass(slots=True, eq=False)
class NV12:
    """A picture of two planes, in host or device memory.

    Attributes:
        y: (H, W) uint8 array, H and W even, rows at any distance.
        uv: (H / 2, W / 2, 2) or (H / 2, W) uint8 array, U and V interleaved.
        standard: the colour matrix, "bt601" or "bt709", limited range.
    """

    y: Any
    uv: Any
    standard: Standard = "bt709"
    _bgr: NDArray[np.uint8] | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3): that of the picture it shows."""
        height, width = self.y.shape[:2]
        return height, width, 3

    @property
    def bgr(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR of planes in host memory; made once, when somebody asks."""
        if self._bgr is None:
            import cv2  # not with every import of the types

            height, width, _ = self.shape
            y, uv = np.asarray(self.y), np.asarray(self.uv).reshape(height // 2, width // 2, 2)
            if self.standard == "bt601":
                picture = cv2.cvtColorTwoPlane(y, uv, cv2.COLOR_YUV2BGR_NV12)
            else:
                # OpenCV's own is BT.601. A chroma sample lies in the middle of its four pixels.
                wide = cv2.resize(uv, (width, height), interpolation=cv2.INTER_LINEAR)
                turn = matrix(self.standard)[::-1]
                shift = -turn @ (16.0, 128.0, 128.0)
                yuv = cv2.merge([y, *cv2.split(wide)])
                picture = cv2.transform(yuv, np.column_stack([turn, shift]))
            self._bgr = np.asarray(picture, np.uint8)
        return self._bgr


def as_bgr(image: NDArray[np.uint8] | NV12) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of either kind of picture; no copy of one that is BGR."""
    return image.bgr if isinstance(image, NV12) else image
