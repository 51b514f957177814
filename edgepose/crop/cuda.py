"""The crop kernel on an NVIDIA GPU: ``csrc/crop_cuda.cu``, from device memory to device memory.

One launch on the caller's stream, no synchronisation, no copy: the boxes may be what the launch
before has written. Arrays are anything with ``__cuda_array_interface__`` or ``__dlpack__``
(PyTorch, CuPy, Numba, JAX), and a plain pointer becomes one with ``DeviceArray``. The definitions
are ``reference.py`` and, for NV12 frames, ``reference_nv12.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from edgepose.crop import _colour, _size
from edgepose.crop.reference_nv12 import Standard
from edgepose.errors import BackendError

if TYPE_CHECKING:
    from edgepose import _cuda
else:
    try:
        from edgepose import _cuda
    except ImportError:  # built without CUDA; the functions below say so
        _cuda = None

__all__ = ["NV12", "DeviceArray", "Stream", "crop", "device_count", "empty"]

Stream: TypeAlias = Any
"""A stream's handle as an integer, 0 for the default stream, or an object that has one by the
``__cuda_stream__`` protocol or as ``cuda_stream`` (PyTorch) or ``ptr`` (CuPy)."""

_SOURCES: dict[Standard, int] = {"bt601": 1, "bt709": 2}
_BGR = 0
_DLPACK_CUDA = 2
_DLPACK_DEVICES = (_DLPACK_CUDA, 13)  # CUDA, CUDA managed
_LEGACY_STREAM = 1  # what both protocols call the default stream, whose handle is 0


@dataclass(frozen=True)
class DeviceArray:
    """An array in device memory: a pointer with a shape, for and from any CUDA library.

    Attributes:
        pointer: device address of the first element.
        shape: sizes per axis.
        dtype: of the elements.
        strides: bytes from one element to the next, per axis; None: C-contiguous.
        owner: kept alive as long as this is.
        read_only: whether ``crop`` must refuse it as ``out``.
        stream: handle of the stream in whose order the contents are ready; None: they are ready.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: DTypeLike = np.uint8
    strides: tuple[int, ...] | None = None
    owner: object = field(default=None, repr=False)
    read_only: bool = False
    stream: int | None = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.pointer, self.read_only),
            "strides": self.strides,
            "stream": None if self.stream is None else self.stream or _LEGACY_STREAM,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return _DLPACK_CUDA, _module().device_of(self.pointer)

    def __dlpack__(self, *, stream: int | None = None, **_: object) -> object:
        """Export the array, ready in the order of ``stream``, as the DLPack protocol has it."""
        native, dtype = _module(), np.dtype(self.dtype)
        device = self.__dlpack_device__()[1]
        if self.stream is not None and stream is not None and stream > 0:
            native.wait(device, stream, self.stream)
        strides = [stride // dtype.itemsize for stride in self.byte_strides]
        return native.to_dlpack(self, self.pointer, self.shape, strides, dtype.str, device)

    @property
    def byte_strides(self) -> tuple[int, ...]:
        """``strides``, also for a C-contiguous array."""
        if self.strides is not None:
            return self.strides
        size = np.dtype(self.dtype).itemsize
        return tuple(size * math.prod(self.shape[i + 1 :]) for i in range(len(self.shape)))


class NV12(NamedTuple):
    """A decoder's surface.

    Attributes:
        y: (H, W) uint8 device array, H and W even, rows at any distance.
        uv: (H / 2, W / 2, 2) or (H / 2, W) uint8 device array, U and V interleaved.
        standard: the colour matrix, "bt601" or "bt709", limited range.
    """

    y: Any
    uv: Any
    standard: Standard = "bt709"

    @classmethod
    def from_surface(
        cls,
        pointer: int,
        height: int,
        width: int,
        pitch: int,
        *,
        uv_pointer: int | None = None,
        standard: Standard = "bt709",
        owner: object = None,
    ) -> NV12:
        """Describe a surface by its address.

        Args:
            pointer: device address of the plane Y.
            height: of the plane Y, in rows.
            width: of the plane Y, in pixels.
            pitch: bytes from a row to the next, in both planes.
            uv_pointer: device address of the plane UV; None: right below the plane Y.
            standard: see the class.
            owner: kept alive as long as the result is.
        """
        if uv_pointer is None:
            uv_pointer = pointer + height * pitch
        return cls(
            DeviceArray(pointer, (height, width), strides=(pitch, 1), owner=owner),
            DeviceArray(
                uv_pointer, (height // 2, width // 2, 2), strides=(pitch, 2, 1), owner=owner
            ),
            standard,
        )


def device_count() -> int:
    """Return how many CUDA devices can be used: 0 without a GPU, a driver or a CUDA build."""
    return 0 if _cuda is None else _cuda.device_count()


def empty(
    shape: tuple[int, ...], dtype: DTypeLike, *, device: int = 0, stream: Stream = 0
) -> DeviceArray:
    """Allocate device memory in the order of a stream; it is given back in that order too.

    Args:
        shape: sizes per axis.
        dtype: of the elements.
        device: ordinal of the device.
        stream: of that device.

    Raises:
        BackendError: no CUDA build, or the allocation fails.
    """
    size = np.dtype(dtype).itemsize * math.prod(shape)
    handle = _handle(stream)
    memory = _module().Memory(max(size, 1), device, handle)
    return DeviceArray(memory.pointer, shape, dtype, owner=memory, stream=handle)


def crop(
    frames: Any,
    boxes: Any,
    size: int | tuple[int, int],
    *,
    frame_index: Any = None,
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    border: Sequence[float] | None = None,
    antialias: bool = True,
    dtype: DTypeLike = np.float32,
    out: Any = None,
    stream: Stream = 0,
) -> Any:
    """Crop, resample and normalise boxes of one or several frames, all in device memory.

    As ``edgepose.crop.crop``, but for what follows. Arrays must lie in the memory of one device.

    Args:
        frames: (H, W, 3) uint8 BGR device array or an ``NV12`` surface, or a list or tuple of at
            most ``MAX_FRAMES`` (64), all BGR or all NV12 of one standard. Rows may lie at any
            distance, pixels and channels must be adjacent.
        boxes: (n, 4) float32 device array, C-contiguous. A box that cannot be cropped gives
            padding, and so does one whose frame index is out of range.
        size: S, or (S_h, S_w): the crop's side(s) in pixels.
        frame_index: (n,) int64 device array, C-contiguous; may be omitted with a single frame.
        scale: factor on the 8-bit levels, not zero.
        mean: per RGB channel, subtracted after ``scale``.
        std: per RGB channel, not zero, divided by last.
        border: RGB colour outside the frame, in 8-bit levels. None: what normalises to 0.
        antialias: False reads two taps per axis however far a box is reduced.
        dtype: float32 or float16.
        out: (n, 3, S_h, S_w) device array of ``dtype``, C-contiguous; written and returned.
        stream: where to launch. An array that names its own stream is waited for on the device; any
            other must be ready in the order of this one, and all must live until it gets there.

    Returns:
        ``out``, or a new ``DeviceArray`` that ``torch.from_dlpack`` and the like can take.

    Raises:
        ValueError: an argument has the wrong type, shape, layout or place; the message names it.
        BackendError: no CUDA build, or CUDA reports an error.
    """
    height, width = _size(size)
    gain, levels, padding = _colour(scale, mean, std, border)
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float16):
        raise ValueError(f"dtype must be float32 or float16, not {kind}")
    native = _module()
    importer = _Importer(_handle(stream))

    source, table = _frames(frames, importer)
    rectangles = importer.array(boxes, "boxes", np.float32)
    _check_shape("boxes", rectangles, (None, 4))
    n = rectangles.shape[0]
    index = None
    if frame_index is not None:
        index = importer.array(frame_index, "frame_index", np.int64)
        _check_shape("frame_index", index, (n,))
    elif len(table) != 1 and n > 0:
        raise ValueError(f"frame_index is needed with {len(table)} frames")
    target = None
    if out is not None:
        target = importer.array(out, "out", kind)
        _check_shape("out", target, (n, 3, height, width))
        if target.read_only:
            raise ValueError("out must be writable")
    if n == 0:
        return out if out is not None else DeviceArray(0, (0, 3, height, width), kind)

    device = importer.settle()
    if target is None:
        out = target = empty((n, 3, height, width), kind, device=device, stream=importer.stream)
    native.crop(
        source,
        table,
        rectangles.pointer,
        0 if index is None else index.pointer,
        n,
        target.pointer,
        height,
        width,
        kind == np.float16,
        gain,
        levels,
        padding,
        bool(antialias),
        device,
        importer.stream,
    )
    return out


class _Importer:
    """Turns other libraries' arrays into ``DeviceArray`` and sees to their order and place."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self._producers: set[int] = set()
        self._pointers: list[tuple[str, int]] = []

    def array(self, value: object, name: str, dtype: DTypeLike) -> DeviceArray:
        """Return ``value`` as an array of ``dtype``."""
        array = self._import(value, name)
        if array.dtype != np.dtype(dtype):
            raise ValueError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
        if array.pointer % np.dtype(dtype).itemsize:
            raise ValueError(f"{name} must begin at a multiple of its elements' size")
        if math.prod(array.shape) > 0:
            self._pointers.append((name, array.pointer))
        return array

    def settle(self) -> int:
        """Wait, on the device, for the arrays' own streams; return the device they lie on."""
        native = _module()
        places = [(name, int(native.device_of(pointer))) for name, pointer in self._pointers]
        device = places[-1][1]
        for name, place in places:
            if place < 0:
                raise ValueError(f"{name} must lie in device memory, not in the host's")
            if place != device:
                raise ValueError(
                    f"{name} must lie on the same device as the rest, not on {place} and {device}"
                )
        for producer in self._producers - {self.stream, self.stream or _LEGACY_STREAM}:
            native.wait(device, self.stream, producer)
        return device

    def _import(self, value: object, name: str) -> DeviceArray:
        interface = getattr(value, "__cuda_array_interface__", None)
        if interface is not None:
            pointer, read_only = interface["data"]
            if interface.get("stream") is not None:
                self._producers.add(int(interface["stream"]))
            strides = interface.get("strides")
            return DeviceArray(
                int(pointer),
                tuple(interface["shape"]),
                np.dtype(interface["typestr"]),
                None if strides is None else tuple(strides),
                value,
                bool(read_only),
            )
        if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
            raise ValueError(
                f"{name} must have __cuda_array_interface__ or __dlpack__, which "
                f"{type(value).__name__} has not"
            )
        if value.__dlpack_device__()[0] not in _DLPACK_DEVICES:
            raise ValueError(f"{name} must lie in device memory, not in the host's")
        tensor = _module().Imported(value.__dlpack__(stream=self.stream or _LEGACY_STREAM))
        if not tensor.typestr:
            raise ValueError(f"{name} has an element type that NumPy has no name for")
        dtype = np.dtype(tensor.typestr)
        return DeviceArray(
            tensor.pointer,
            tuple(tensor.shape),
            dtype,
            None if tensor.strides is None else tuple(dtype.itemsize * s for s in tensor.strides),
            tensor,
        )


def _frames(
    frames: object, importer: _Importer
) -> tuple[int, list[tuple[int, int, int, int, int, int]]]:
    """Return the kind of source and one row of the kernel's table per frame."""
    single = isinstance(frames, NV12) or not isinstance(frames, list | tuple)
    images: Sequence[Any] = [frames] if single else frames  # type: ignore[assignment]
    limit = _module().MAX_FRAMES
    if len(images) > limit:
        raise ValueError(f"frames must be at most {limit} in one call, not {len(images)}")
    sources, table = set(), []
    for i, image in enumerate(images):
        name = "frames" if single else f"frames[{i}]"
        if not isinstance(image, NV12):
            sources.add(_BGR)
            bgr = importer.array(image, name, np.uint8)
            height, width = _check_rows(name, bgr, (None, None, 3), (3, 1))
            table.append((bgr.pointer, 0, height, width, bgr.byte_strides[0], 0))
            continue
        if image.standard not in _SOURCES:
            raise ValueError(f"{name}.standard must be bt601 or bt709, not {image.standard!r}")
        sources.add(_SOURCES[image.standard])
        y = importer.array(image.y, f"{name}.y", np.uint8)
        uv = importer.array(image.uv, f"{name}.uv", np.uint8)
        height, width = _check_rows(f"{name}.y", y, (None, None), (1,))
        if height % 2 or width % 2:
            raise ValueError(f"{name}.y must have even sides, not {y.shape}")
        if len(uv.shape) == 2:
            _check_rows(f"{name}.uv", uv, (height // 2, width), (1,))
        else:
            _check_rows(f"{name}.uv", uv, (height // 2, width // 2, 2), (2, 1))
        table.append((y.pointer, uv.pointer, height, width, y.byte_strides[0], uv.byte_strides[0]))
    if len(sources) > 1:
        raise ValueError("frames must be all BGR or all NV12 of one standard")
    return (sources.pop() if sources else _BGR), table


def _check_rows(
    name: str, array: DeviceArray, shape: tuple[int | None, ...], packed: tuple[int, ...]
) -> tuple[int, int]:
    """Check a frame's shape and the strides within a row; return its height and width."""
    _check_shape(name, array, shape, contiguous=False)
    if not all(1 <= side < 2**31 for side in array.shape):
        raise ValueError(f"{name} must be at least 1 x 1 and below 2^31, not {array.shape}")
    inner = zip(array.byte_strides[1:], packed, array.shape[1:], strict=True)
    if any(stride != wanted for stride, wanted, side in inner if side > 1):
        raise ValueError(f"{name} must have adjacent pixels in a row")
    return array.shape[0], array.shape[1]


def _check_shape(
    name: str, array: DeviceArray, shape: tuple[int | None, ...], *, contiguous: bool = True
) -> None:
    if len(array.shape) != len(shape) or any(
        want not in (None, side) for side, want in zip(array.shape, shape, strict=True)
    ):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} must have shape ({wanted}), not {array.shape}")
    if contiguous and array.strides is not None and math.prod(array.shape) > 0:
        packed = DeviceArray(0, array.shape, array.dtype).byte_strides
        strides = zip(array.strides, packed, array.shape, strict=True)
        if any(stride != wanted for stride, wanted, side in strides if side > 1):
            raise ValueError(f"{name} must be C-contiguous")


def _handle(stream: Stream) -> int:
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if isinstance(stream, bool) or not isinstance(stream, int) or stream < 0:
        raise ValueError(f"stream must be a CUDA stream or its handle, not {stream!r}")
    return stream


def _module() -> ModuleType:
    if _cuda is None:
        raise BackendError(
            "This edgepose was built without CUDA: install the CUDA toolkit and reinstall with "
            "EDGEPOSE_CUDA=1."
        )
    return _cuda
