"""Any host runtime's networks on the device that is none: for tests of the whole device path."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgepose.backends import Backend, Network
from edgepose.bundle import Bundle
from edgepose.cuda.device import Stream
from edgepose.cuda.host import HostDevice
from edgepose.cuda.network import Tensor, powers
from edgepose.errors import BackendError


class HostCall:
    """One call: it reads and writes its addresses when the stream gets to it."""

    def __init__(self, device: HostDevice, model: HostModel) -> None:
        self._device, self._model = device, model
        self._rows, self._addresses = 0, {}

    _addresses: Mapping[str, int]

    def bind(self, rows: int, addresses: Mapping[str, int]) -> None:
        """Say how many rows a call has and where every tensor lies."""
        self._rows, self._addresses = rows, dict(addresses)

    def enqueue(self, stream: Stream) -> None:
        """Queue the call."""
        model, rows, addresses = self._model, self._rows, self._addresses
        if rows == 0:
            raise BackendError("this call is not bound, or closed")

        def work() -> None:
            def view(tensor: Tensor) -> np.ndarray:
                shape = (rows, *tensor.shape)
                return self._device.memory.view(addresses[tensor.name], shape, tensor.dtype)

            batch = np.array(view(model.input), np.float32)
            for tensor, value in zip(model.outputs, model.run(batch), strict=True):
                view(tensor)[...] = value

        self._device.run(stream.handle, work)

    def capturable(self, stream: Stream) -> bool:
        """Always: a record is a graph here."""
        return True

    def close(self) -> None:
        """Nothing is held."""
        self._rows = 0


class HostModel:
    """A network of a host runtime."""

    def __init__(self, device: HostDevice, bundle: Bundle, network: str, run: Network) -> None:
        spec = bundle.network(network)
        self.run, self._device = run, device
        self.batches = powers(spec.rows, spec.fixed)
        self.input = Tensor(spec.input, np.dtype(np.float32), spec.shape)
        once = run(np.zeros((spec.rows, *spec.shape), np.float32))
        self.outputs = tuple(
            Tensor(f"output{i}", value.dtype, value.shape[1:]) for i, value in enumerate(once)
        )

    def scratch(self) -> int:
        """The runtime has its own."""
        return 0

    def network(self, scratch: int) -> HostCall:
        """A new call."""
        return HostCall(self._device, self)


class HostDeviceBackend:
    """A host backend as a device's."""

    def __init__(self, device: HostDevice, backend: Backend) -> None:
        self.device, self._backend = device, backend
        self.name, self.precision = f"{backend.name} on {device.facts.name}", backend.precision

    def open(self, bundle: Bundle, network: str) -> HostModel:
        """Load a bundle's network."""
        return HostModel(self.device, bundle, network, self._backend.load(bundle, network))

    def close(self) -> None:
        """Nothing is held."""
