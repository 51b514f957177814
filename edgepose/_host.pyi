from edgepose.crop.normalisation import Normalisation
from edgepose.errors import BackendError

MAX_FRAMES: int
MAX_POINTS: int
MAX_SIDE: float

class Error(BackendError): ...

class CropSpec:
    def __init__(
        self,
        height: int,
        width: int,
        half: bool,
        normalisation: Normalisation,
        antialias: bool = True,
    ) -> None: ...

class Frames:
    def __init__(self, source: int, table: int, count: int, on_device: bool) -> None: ...

class Rows:
    def __init__(self, rows: int, points: int, count: int = 0) -> None: ...

class NextBoxes:
    def __init__(
        self,
        sigma: float,
        pairs: tuple[tuple[int, int], tuple[int, int]],
        floor: float,
        frame_index: int,
        boxes: int,
        indices: int,
    ) -> None: ...

def crop(
    frames: Frames,
    boxes: int,
    frame_index: int,
    count: int,
    spec: CropSpec,
    out: int,
    device: int,
    stream: int,
) -> None: ...
def square_boxes(
    rows: Rows, boxes: int, margin: float, out: int, device: int, stream: int
) -> None: ...
def denormalise(
    rows: Rows,
    points: int,
    boxes: int,
    next: NextBoxes | None,
    out: int,
    device: int,
    stream: int,
) -> None: ...
def refine(
    rows: Rows,
    points: int,
    displacements: int,
    boxes: int,
    next: NextBoxes | None,
    out: int,
    device: int,
    stream: int,
) -> None: ...
