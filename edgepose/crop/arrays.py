"""Arrays in device memory, from and for any CUDA library."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from edgepose.crop.native import module

Stream: TypeAlias = Any
"""A stream's handle as an integer, 0 for the default stream, or an object that has one by the
``__cuda_stream__`` protocol or as ``cuda_stream`` (PyTorch) or ``ptr`` (CuPy)."""

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
        return _DLPACK_CUDA, module().device_of(self.pointer)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Export the array, ready in the order of ``stream``, as the DLPack protocol has it.

        Raises:
            BufferError: a copy or another device is asked for, or the array is read-only, which
                the capsules of DLPack before 1.0 cannot say.
        """
        native, dtype = module(), np.dtype(self.dtype)
        place = self.__dlpack_device__()
        if copy or (dl_device is not None and tuple(dl_device) != place):
            raise BufferError("this array is exported where it lies, without a copy")
        if self.read_only:
            raise BufferError("this array is read-only, which its capsule could not say")
        consumer = _LEGACY_STREAM if stream is None else stream
        if self.stream is not None and consumer != -1:
            own = self.stream or _LEGACY_STREAM
            if consumer != own:
                native.wait(place[1], consumer, own)
        strides = [stride // dtype.itemsize for stride in self.byte_strides]
        return native.to_dlpack(self, self.pointer, self.shape, strides, dtype.str, place[1])

    @property
    def byte_strides(self) -> tuple[int, ...]:
        """``strides``, also for a C-contiguous array."""
        if self.strides is not None:
            return self.strides
        size = np.dtype(self.dtype).itemsize
        return tuple(size * math.prod(self.shape[i + 1 :]) for i in range(len(self.shape)))


def empty(
    shape: tuple[int, ...], dtype: DTypeLike, *, device: int = 0, stream: Stream = 0
) -> DeviceArray:
    """Allocate device memory in the order of a stream; it is given back in that order too.

    Args:
        shape: sizes per axis.
        dtype: of the elements.
        device: ordinal of the device.
        stream: of that device; a stream object is kept as long as the memory.

    Raises:
        BackendError: no CUDA build, or the allocation fails.
    """
    size = np.dtype(dtype).itemsize * math.prod(shape)
    handle = stream_handle(stream)
    memory = module().Memory(max(size, 1), device, handle, stream)
    return DeviceArray(memory.pointer, shape, dtype, owner=memory, stream=handle)


class Importer:
    """Turns other libraries' arrays into ``DeviceArray``, keeps them, and sees to their order and
    place.
    """

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self._producers: set[int] = set()
        self._arrays: list[tuple[str, DeviceArray]] = []

    def array(self, value: object, name: str, dtype: DTypeLike) -> DeviceArray:
        """Return ``value`` as an array of ``dtype``."""
        array = self._import(value, name)
        if array.dtype != np.dtype(dtype):
            raise ValueError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
        if array.pointer % np.dtype(dtype).itemsize:
            raise ValueError(f"{name} must begin at a multiple of its elements' size")
        if math.prod(array.shape) > 0:
            self._arrays.append((name, array))
        return array

    def device(self) -> int:
        """Return the device that all arrays lie on."""
        native = module()
        places = [(name, int(native.device_of(array.pointer))) for name, array in self._arrays]
        device = places[-1][1]
        for name, place in places:
            if place < 0:
                raise ValueError(f"{name} must lie in device memory, not in the host's")
            if place != device:
                raise ValueError(
                    f"{name} must lie on the same device as the rest, not on {place} and {device}"
                )
        return device

    def others(self) -> list[int]:
        """Return the arrays' own streams but for this one."""
        return sorted(self._producers - {self.stream, self.stream or _LEGACY_STREAM})

    def _import(self, value: object, name: str) -> DeviceArray:
        interface = getattr(value, "__cuda_array_interface__", None)
        if interface is not None:
            pointer, read_only = interface["data"]
            producer = None
            if interface.get("stream") is not None:
                producer = int(interface["stream"])
                self._producers.add(producer)
            strides = interface.get("strides")
            return DeviceArray(
                int(pointer),
                tuple(interface["shape"]),
                np.dtype(interface["typestr"]),
                None if strides is None else tuple(strides),
                value,
                bool(read_only),
                producer,
            )
        if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
            raise ValueError(
                f"{name} must have __cuda_array_interface__ or __dlpack__, which "
                f"{type(value).__name__} has not"
            )
        if value.__dlpack_device__()[0] not in _DLPACK_DEVICES:
            raise ValueError(f"{name} must lie in device memory, not in the host's")
        tensor = module().Imported(value.__dlpack__(stream=self.stream or _LEGACY_STREAM))
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


def check_shape(
    name: str, array: DeviceArray, shape: tuple[int | None, ...], *, contiguous: bool = True
) -> None:
    """Raise ValueError unless an array has this shape, None being any size, and layout."""
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


def stream_handle(stream: Stream) -> int:
    """Return a stream's handle."""
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if isinstance(stream, bool) or not isinstance(stream, int) or stream < 0:
        raise ValueError(f"stream must be a CUDA stream or its handle, not {stream!r}")
    return stream
