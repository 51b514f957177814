from collections.abc import Sequence

# The kernels have the same face on the host; at run time the classes are this module's own.
from edgepose._host import (
    MAX_FRAMES as MAX_FRAMES,
)
from edgepose._host import (
    MAX_POINTS as MAX_POINTS,
)
from edgepose._host import (
    MAX_SIDE as MAX_SIDE,
)
from edgepose._host import (
    CropSpec as CropSpec,
)
from edgepose._host import (
    Error as Error,
)
from edgepose._host import (
    Frames as Frames,
)
from edgepose._host import (
    NextBoxes as NextBoxes,
)
from edgepose._host import (
    Rows as Rows,
)
from edgepose._host import (
    crop as crop,
)
from edgepose._host import (
    denormalise as denormalise,
)
from edgepose._host import (
    refine as refine,
)
from edgepose._host import (
    square_boxes as square_boxes,
)

ARCHITECTURES: str

class Memory:
    def __init__(self, bytes: int, device: int, stream: int, owner: object = None) -> None: ...
    @property
    def pointer(self) -> int: ...

class Imported:
    def __init__(self, capsule: object) -> None: ...
    @property
    def pointer(self) -> int: ...
    @property
    def shape(self) -> list[int]: ...
    @property
    def strides(self) -> list[int] | None: ...
    @property
    def typestr(self) -> str: ...

def device_count() -> int: ...
def versions() -> tuple[int, int]: ...
def capturing(device: int, stream: int) -> bool: ...
def device_of(pointer: int) -> int: ...
def wait(device: int, stream: int, producer: int) -> None: ...
def launch_nothing(device: int, stream: int) -> None: ...
def to_dlpack(
    owner: object,
    pointer: int,
    shape: Sequence[int],
    strides: Sequence[int],
    typestr: str,
    device: int,
) -> object: ...
