from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.crop.normalisation import Normalisation

def crop(
    frames: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    frame_index: NDArray[np.int64],
    out: NDArray[Any],
    normalisation: Normalisation,
    antialias: bool,
    isa: int = 0,
    threads: int = 1,
) -> None: ...
def cpu_isas() -> list[str]: ...
