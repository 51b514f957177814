"""Networks on a device: what TensorRT, torch and the host's runtimes look like to the cascade.

A :class:`DeviceModel` is a network's weights; its :class:`DeviceNetwork` objects are calls of it,
each with its own shapes and addresses, since a captured call must not be changed afterwards.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.crop.arrays import DeviceArray
from edgepose.cuda.device import Device, Stream
from edgepose.errors import BackendError


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, element type, and the shape of one row of the batch."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class DeviceNetwork(Protocol):
    """One call of a model: bound once, queued often, by one stream at a time."""

    def bind(self, rows: int, addresses: Mapping[str, int]) -> None:
        """Say how many rows a call has and where every tensor lies; BackendError if refused."""
        ...

    def enqueue(self, stream: Stream) -> None:
        """Queue the call. The first one is the warm-up; later ones may be captured."""
        ...

    def capturable(self, stream: Stream) -> bool:
        """Whether the bound call can go into a graph, after its warm-up."""
        ...

    def close(self) -> None:
        """Give its memory back; no call may be running."""
        ...


class DeviceModel(Protocol):
    """A loaded network of a bundle: one input, outputs in the exported order.

    ``batches``: numbers of rows that a call may have, ascending; the network is tuned for each.
    """

    input: Tensor
    outputs: tuple[Tensor, ...]
    batches: tuple[int, ...]

    def scratch(self) -> int:
        """Bytes of scratch memory that a call needs; calls that run in order may share it."""
        ...

    def network(self, scratch: int) -> DeviceNetwork:
        """A new call, with scratch memory at that address."""
        ...


class DeviceBackend(Protocol):
    """A runtime on a device."""

    name: str
    device: Device

    @property
    def precision(self) -> str:
        """Arithmetic of the networks, e.g. ``float16``."""
        ...

    def open(self, bundle: Bundle, network: str) -> DeviceModel:
        """Load a bundle's network, such as ``stage1``; BackendError if the runtime refuses it."""
        ...

    def close(self) -> None:
        """Keep what was learnt for the next start, and give memory back."""
        ...


class RoundTrip:
    """A model for callers on the host: every batch goes to the device and back, and is waited for.

    For golden pairs, drift and the detector; what a cascade costs that comes back between stages
    is measured with it. Batches beyond the model's largest are split, those between two of its
    batches filled up with zeros. Calls may come from any thread, one runs at a time.
    """

    def __init__(self, device: Device, model: DeviceModel) -> None:
        self._device, self._model, self._lock = device, model, threading.Lock()
        self._stream, self._done = device.stream(), device.event()
        self._scratch = device.empty((model.scratch(),), np.uint8)
        self._network = model.network(self._scratch.pointer)
        tensors = (model.input, *model.outputs)
        shapes = [(model.batches[-1], *t.shape) for t in tensors]
        pairs = list(zip(tensors, shapes, strict=True))
        self._host = {t.name: device.pinned(shape, t.dtype) for t, shape in pairs}
        self._memory = {t.name: device.empty(shape, t.dtype) for t, shape in pairs}
        self._rows = 0
        # Also when the interpreter ends, while CUDA is still there.
        self._closed = weakref.finalize(
            self, _close, self._stream, self._network, self._host, self._memory
        )

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch (n, …) float32; outputs (n, …) float32, the caller's own."""
        shape, most = self._model.input.shape, self._model.batches[-1]
        with self._lock:
            if not self._closed.alive:
                raise BackendError("this network is closed; load it again")
            if batch.ndim != len(shape) + 1 or batch.shape[1:] != shape or len(batch) == 0:
                raise ValueError(f"the batch must be (n, *{shape}), not {batch.shape}")
            parts = [self._run(batch[i : i + most]) for i in range(0, len(batch), most)]
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))

    def _run(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        model, source = self._model, self._model.input
        count = next(n for n in model.batches if n >= len(rows))
        if count != self._rows:  # the same shape costs nothing
            self._network.bind(count, {n: a.pointer for n, a in self._memory.items()})
            self._rows = count
        host = self._host[source.name]
        host[: len(rows)], host[len(rows) : count] = rows, 0
        self._copy(source.name, count, to_device=True)
        self._network.enqueue(self._stream)
        for tensor in model.outputs:
            self._copy(tensor.name, count, to_device=False)
        self._done.record(self._stream)
        self._done.synchronize()
        # Copies: the next call writes over the pinned buffers.
        return [np.array(self._host[t.name][: len(rows)], np.float32) for t in model.outputs]

    def _copy(self, name: str, rows: int, *, to_device: bool) -> None:
        host, memory = self._host[name], self._memory[name]
        there, size = (memory.pointer, host.ctypes.data), host[:rows].nbytes
        target, source = there if to_device else there[::-1]
        self._device.copy(target, source, size, self._stream)

    def close(self) -> None:
        """Give the memory back; may be called again."""
        with self._lock:
            self._closed()


def _close(
    stream: Stream,
    network: DeviceNetwork,
    host: dict[str, NDArray[Any]],
    memory: dict[str, DeviceArray],
) -> None:
    stream.synchronize()
    network.close()
    host.clear()
    memory.clear()


def powers(rows: int, fixed: bool) -> tuple[int, ...]:
    """The batches of a network that takes any: powers of two, in persons of ``rows`` rows each."""
    return (rows,) if fixed else tuple(rows << i for i in range(7))
