from collections.abc import Sequence

from edgepose.errors import BackendError

ARCHITECTURES: str
MAX_FRAMES: int

class Error(BackendError): ...

class Memory:
    def __init__(self, bytes: int, device: int, stream: int) -> None: ...
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
def device_of(pointer: int) -> int: ...
def wait(device: int, stream: int, producer: int) -> None: ...
def launch_nothing(device: int, stream: int) -> None: ...
def crop(
    source: int,
    frames: Sequence[tuple[int, int, int, int, int, int]],
    boxes: int,
    frame_index: int,
    count: int,
    out: int,
    height: int,
    width: int,
    half: bool,
    gain: Sequence[float],
    border: Sequence[float],
    padding: Sequence[float],
    antialias: bool,
    device: int,
    stream: int,
) -> None: ...
def to_dlpack(
    owner: object,
    pointer: int,
    shape: Sequence[int],
    strides: Sequence[int],
    typestr: str,
    device: int,
) -> object: ...
