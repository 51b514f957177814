"""PyTorch on CUDA: the reference on a GPU, and the way onto one that TensorRT-RTX does not know.

The bundle's own ONNX networks, operator by operator. Backend ``torch`` needs a PyTorch with CUDA
and the package ``onnx``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike

from edgepose.backends.torch_graph import TorchCall, TorchGraph
from edgepose.bundle import Bundle
from edgepose.crop.arrays import DeviceArray
from edgepose.cuda.device import Device, Stream
from edgepose.cuda.host import HostDevice
from edgepose.cuda.network import RoundTrip, Tensor, powers
from edgepose.cuda.open import open_device
from edgepose.engine.convert import strongly_typed
from edgepose.errors import BackendError

_PRECISIONS = {"fp32": "float32", "fp16": "float16"}


class _Place(Protocol):
    """Where torch computes: on CUDA, or on the host's memory for tests."""

    device: torch.device

    def view(self, address: int, shape: Sequence[int], dtype: DTypeLike) -> torch.Tensor: ...
    def run(self, stream: Stream, work: Callable[[], None]) -> None: ...
    def pool(self) -> Any: ...


class _Cuda:
    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)

    def view(self, address: int, shape: Sequence[int], dtype: DTypeLike) -> torch.Tensor:
        return torch.as_tensor(DeviceArray(address, tuple(shape), dtype), device=self.device)

    def run(self, stream: Stream, work: Callable[[], None]) -> None:
        own: Any = torch.cuda.ExternalStream
        with torch.cuda.stream(own(stream.handle, self.device)):
            work()

    def pool(self) -> Any:
        """Memory for the intermediate results of one call alone: a graph keeps their addresses."""
        return torch.cuda.MemPool()


class _Host:
    def __init__(self, device: HostDevice) -> None:
        self.device, self._own = torch.device("cpu"), device

    def view(self, address: int, shape: Sequence[int], dtype: DTypeLike) -> torch.Tensor:
        return torch.from_numpy(self._own.memory.view(address, shape, dtype))

    def run(self, stream: Stream, work: Callable[[], None]) -> None:
        self._own.run(stream.handle, work)

    def pool(self) -> Any:
        return None


class TorchNetwork:
    """One call; see :class:`~edgepose.cuda.network.DeviceNetwork`."""

    def __init__(self, model: TorchModel, place: _Place) -> None:
        self._model, self._place, self._pool = model, place, place.pool()
        self._call: TorchCall | None = None
        self._rows, self._addresses = 0, dict[str, int]()

    def bind(self, rows: int, addresses: Mapping[str, int]) -> None:
        """Say how many rows a call has and where every tensor lies."""
        if rows != self._rows:
            with torch.inference_mode():
                self._call = self._model.graph.call((rows, *self._model.input.shape))
            self._rows = rows
        self._addresses = dict(addresses)

    def enqueue(self, stream: Stream) -> None:
        """Queue the call on a stream."""
        call, rows, addresses = self._call, self._rows, self._addresses
        if call is None:
            raise BackendError("this call is not bound, or closed")
        model, place, pool = self._model, self._place, self._pool

        def work() -> None:
            def view(tensor: Tensor) -> torch.Tensor:
                return place.view(addresses[tensor.name], (rows, *tensor.shape), tensor.dtype)

            exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                if pool is None:
                    values = call(view(model.input))
                else:
                    with torch.cuda.use_mem_pool(pool):
                        values = call(view(model.input))
                for tensor, value in zip(model.outputs, values, strict=True):
                    view(tensor).copy_(value.reshape(rows, *tensor.shape))

        place.run(stream, work)

    def capturable(self, stream: Stream) -> bool:
        """Whether it is bound: a call waits for nothing, and its memory is its own."""
        return self._call is not None

    def close(self) -> None:
        """Give its memory back."""
        self._call = self._pool = None
        self._rows = 0


class TorchModel:
    """A network's weights."""

    def __init__(self, bundle: Bundle, network: str, precision: str, place: _Place) -> None:
        spec = bundle.network(network)
        content = spec.path.read_bytes()
        if precision != "fp32":
            content = strongly_typed(spec.path, precision)
        self.graph = TorchGraph(content, place.device)
        self._place = place
        self.batches = powers(spec.rows, spec.fixed)
        with torch.inference_mode():
            once = self.graph.call((spec.rows, *spec.shape))
        half = np.dtype(np.float16 if self.graph.dtype == torch.float16 else np.float32)
        self.input = Tensor(spec.input, half, spec.shape)
        self.outputs = tuple(
            Tensor(name, np.dtype(np.float32), shape[1:])
            for name, shape in zip(self.graph.outputs, once.shapes, strict=True)
        )

    def scratch(self) -> int:
        """Torch has its own."""
        return 0

    def network(self, scratch: int) -> TorchNetwork:
        """A new call."""
        return TorchNetwork(self, self._place)


class TorchBackend:
    """Backend ``torch``: float32 on a GPU, or float16."""

    name = "torch"

    def __init__(
        self, threads: int | None = None, *, precision: str = "fp32", device: Device | None = None
    ) -> None:
        """Find the GPU; ``threads`` means nothing here. ``precision``: fp32 or fp16.

        BackendError or DeviceError with the remedy if torch has no CUDA, or there is no GPU.
        """
        if precision not in _PRECISIONS:
            raise BackendError(f"backend torch has fp32 and fp16, not {precision!r}")
        if device is None and not torch.cuda.is_available():
            built = torch.version.cuda
            reason = "PyTorch sees no GPU" if built else "this PyTorch was built without CUDA"
            raise BackendError(
                f"backend torch needs an NVIDIA GPU: {reason}; install a PyTorch for CUDA, or use "
                "--backend onnxruntime"
            )
        self.device: Device = device or open_device()
        self._place: _Place = _Host(self.device) if isinstance(self.device, HostDevice) else _Cuda()
        self._precision = precision
        self._models: dict[tuple[Any, str], TorchModel] = {}

    @property
    def precision(self) -> str:
        """Arithmetic of the networks."""
        return _PRECISIONS[self._precision]

    def open(self, bundle: Bundle, network: str) -> TorchModel:
        """A bundle's network; BackendError if an operator is not known."""
        key = bundle.folder, network
        if key not in self._models:
            self._models[key] = TorchModel(bundle, network, self._precision, self._place)
        return self._models[key]

    def load(self, bundle: Bundle, network: str) -> RoundTrip:
        """A bundle's network for callers on the host."""
        return RoundTrip(self.device, self.open(bundle, network))

    def close(self) -> None:
        """Forget the weights."""
        self._models.clear()
