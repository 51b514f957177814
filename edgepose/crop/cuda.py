"""The crop kernel on an NVIDIA GPU: ``csrc/crop_cuda.cu``, from device memory to device memory.

One launch on the caller's stream, no synchronisation, no copy: the boxes may be what the launch
before has written. Arrays are anything with ``__cuda_array_interface__`` or ``__dlpack__``
(PyTorch, CuPy, Numba, JAX), and a plain pointer becomes one with ``DeviceArray``. The definitions
are ``reference.py`` and, for NV12 frames, ``reference_nv12.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from edgepose.crop import _size
from edgepose.crop.arrays import DeviceArray, Importer, Stream, check_shape, empty, stream_handle
from edgepose.crop.native import device_count, module
from edgepose.crop.normalisation import normalisation
from edgepose.crop.surfaces import FrameTable, surface, table_of
from edgepose.nv12 import NV12

__all__ = [
    "NV12", "BoundCrop", "DeviceArray", "FrameTable", "Stream", "bind", "crop", "device_count",
    "empty", "surface",
]  # fmt: skip


def crop(
    frames: Any,
    boxes: Any,
    size: int | tuple[int, int],
    *,
    out: Any = None,
    stream: Stream = 0,
    **options: Any,
) -> Any:
    """Crop, resample and normalise boxes of one or several frames, all in device memory.

    As ``edgepose.crop.crop``, but for what follows. Arrays must lie in the memory of one device.

    Args:
        frames: (H, W, 3) uint8 BGR device array or an ``NV12`` surface, or a list or tuple of at
            most ``MAX_FRAMES`` (64), all BGR or all NV12 of one standard, or a ``FrameTable``. Rows
            may lie at any distance, pixels and channels must be adjacent.
        boxes: (n, 4) float32 device array, C-contiguous. A box that cannot be cropped gives
            padding, and so does one whose frame index is out of range.
        size: S, or (S_h, S_w): the crop's side(s) in pixels.
        out: (n, 3, S_h, S_w) device array of ``dtype``, C-contiguous; written and returned.
        stream: where to launch. An array that names its own stream is waited for on the device, and
            ``out``'s own stream waits for the launch; any other array must be ready in the order of
            this one, and all must live until it gets there. While the stream is captured into a
            graph nothing is waited for and ``out`` is needed: whoever replays sees to the order.
        options: ``frame_index`` (n,) int64 device array, C-contiguous, which may be omitted with a
            single frame; ``scale``, ``mean``, ``std``, ``border``, ``antialias`` and ``dtype`` as
            of ``edgepose.crop.crop``.

    Returns:
        ``out``, or a new ``DeviceArray`` that ``torch.from_dlpack`` and the like can take.

    Raises:
        ValueError: an argument has the wrong type, shape, layout or place; the message names it.
        BackendError: no CUDA build, or CUDA reports an error.
    """
    work = _Work(frames, boxes, size, stream_handle(stream), out, **options)
    native, importer, target = module(), work.importer, work.target
    if work.shape[0] == 0:
        return out if out is not None else DeviceArray(0, work.shape, work.dtype)

    device = importer.device()
    others = importer.others()
    captured = (target is None or bool(others)) and native.capturing(device, importer.stream)
    if not captured:
        for other in others:
            native.wait(device, importer.stream, other)
    if target is None:
        if captured:
            raise ValueError("out is needed while the stream is captured")
        out = target = empty(work.shape, work.dtype, device=device, stream=stream)
    work.launcher(device, target)(importer.stream)
    if target.stream in others and not captured:
        # Whoever takes `out` in the order of its own stream, or frees it there, comes after.
        native.wait(device, target.stream, importer.stream)
    return out


def bind(
    frames: Any, boxes: Any, size: int | tuple[int, int], *, out: Any, **options: Any
) -> BoundCrop:
    """Check a crop's arguments once, for calls in a loop over the same memory.

    Args:
        frames: as of ``crop``; a ``FrameTable`` may name other frames at every call.
        boxes: as of ``crop``, at least one; read when the launch runs.
        size: as of ``crop``.
        out: as of ``crop``, but needed.
        options: as of ``crop``.

    Raises:
        ValueError: an argument has the wrong type, shape, layout or place; the message names it.
        BackendError: no CUDA build, or CUDA reports an error.
    """
    if out is None:
        raise ValueError("out is needed")
    work = _Work(frames, boxes, size, 0, out, **options)
    if work.shape[0] == 0 or work.target is None:
        raise ValueError("boxes must be at least one")
    return BoundCrop(work.launcher(work.importer.device(), work.target), out, work)


class BoundCrop:
    """A crop whose arguments are checked: ``bound(stream)`` launches it and does nothing else.

    Attributes:
        out: what it writes.
    """

    __slots__ = ("_kept", "_launch", "out")

    def __init__(self, launch: Callable[[int], None], out: Any, kept: object) -> None:
        self._launch, self.out, self._kept = launch, out, kept

    def __call__(self, stream: int = 0) -> Any:
        """Launch on the stream of this handle, in whose order everything must be ready."""
        self._launch(stream)
        return self.out


class _Work:
    """A crop's arguments, checked."""

    def __init__(
        self,
        frames: Any,
        boxes: Any,
        size: int | tuple[int, int],
        stream: int,
        out: Any,
        *,
        frame_index: Any = None,
        scale: float = 1.0,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        border: Sequence[float] | None = None,
        antialias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        height, width = _size(size)
        colour = normalisation(scale, mean, std, border)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float16):
            raise ValueError(f"dtype must be float32 or float16, not {self.dtype}")
        native = module()
        self.importer = importer = Importer(stream)
        self._table = table_of(frames, importer)
        self._boxes = importer.array(boxes, "boxes", np.float32)
        check_shape("boxes", self._boxes, (None, 4))
        n = self._boxes.shape[0]
        self.shape = (n, 3, height, width)
        self._index: DeviceArray | None = None
        if frame_index is not None:
            self._index = importer.array(frame_index, "frame_index", np.int64)
            check_shape("frame_index", self._index, (n,))
        elif self._table.length != 1 and n > 0:
            raise ValueError(f"frame_index is needed with {self._table.length} frames")
        self.target: DeviceArray | None = None
        if out is not None:
            self.target = importer.array(out, "out", self.dtype)
            check_shape("out", self.target, self.shape)
            if self.target.read_only:
                raise ValueError("out must be writable")
        half = self.dtype == np.float16
        self._spec = native.CropSpec(height, width, half, colour, bool(antialias))

    def launcher(self, device: int, target: DeviceArray) -> Callable[[int], None]:
        """Return what launches on a stream; it points into this, which must be kept."""
        native, table = module(), self._table
        return partial(
            native.crop,
            native.Frames(table.source, table.pointer, table.length, table.on_device),
            self._boxes.pointer,
            0 if self._index is None else self._index.pointer,
            self.shape[0],
            self._spec,
            target.pointer,
            device,
        )
