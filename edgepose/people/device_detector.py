"""The detector on a device: the frame goes up, boxes and scores come down, one wait a look.

The letterbox is cut by the kernel that cuts the cascade's crops, so NV12 frames and frames that are
on the device already are looked at as they are. Suppression stays on the host: a few dozen boxes.
It has a stream of its own, behind the cascade's, and memory of its own: it looks once in many
frames and may take longer than one, so it uploads that frame a second time rather than hold up the
cascade's slots.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.bundle import Bundle
from edgepose.cascade.device_frames import FrameStore, source_of
from edgepose.cascade.device_program import part
from edgepose.crop.normalisation import Normalisation, normalisation
from edgepose.crop.surfaces import ROW
from edgepose.cuda.capture import graph_of
from edgepose.cuda.device import Device, Graph, Stream
from edgepose.cuda.network import DeviceBackend, DeviceModel
from edgepose.errors import BackendError
from edgepose.people.detector import Decoding, detector_of, letterbox, to_frame
from edgepose.types import Float

_BOX, _TABLE = 8, 24  # where they lie behind the frame index, bytes
_REQUEST = _TABLE + ROW.itemsize


class DeviceDetector(Decoding):
    """Persons of a frame: ``boxes = detector(frame)``, as
    :class:`~edgepose.people.detector.Detector`.

    Boxes are those of the host's Detector, to what the networks' precision costs. Calls may come
    from any thread, one runs at a time.
    """

    def __init__(self, bundle: Bundle, backend: DeviceBackend, *, mapped: bool = False) -> None:
        """Load the detector's networks; BundleError if the bundle has none.

        ``mapped``: see :class:`~edgepose.cascade.device_frames.FrameStore`.
        """
        spec, pixels = detector_of(bundle), bundle.manifest.pixels
        super().__init__(spec.score, spec.iou)
        self.device: Device = backend.device
        names = ["detector", *(["detector-portrait"] if spec.size[0] != spec.size[1] else [])]
        models = [backend.open(bundle, name) for name in names]
        colour = normalisation(pixels.scale, pixels.mean, pixels.std)
        scratch = self.device.empty((max(model.scratch() for model in models),), np.uint8)
        self._scratch = scratch
        self._views = [View(self.device, model, scratch.pointer, colour) for model in models]
        self._stream, self._done = self.device.stream(), self.device.event()
        self._frames, self._lock = FrameStore(self.device, mapped), threading.Lock()
        self._closed = weakref.finalize(self, _close, self._stream, self._views)

    def __call__(self, frame: Any) -> Float:
        """Find persons in ``frame``: (H, W, 3) uint8 BGR or NV12, of the host or on the device.

        Returns (P, 5) float32 ``x0, y0, x1, y1, score`` in frame pixels, cut to the frame, best
        first; P may be 0. Raises ValueError if ``frame`` is none.
        """
        if len(frame.shape) != 3:
            raise ValueError(f"frame must have shape (H, W, 3), not {frame.shape}")
        height, width = frame.shape[:2]
        with self._lock:
            if not self._closed.alive:
                raise BackendError("this detector is closed; load it again")
            view = self._views[-1 if height > width else 0]
            shown = letterbox(height, width, view.size)
            table = self._frames.put([frame], self._stream)
            view.look(source_of(frame), shown, table, self._stream)
            self._done.record(self._stream)
            self._done.synchronize()
            boxes, scores = (answer[0].astype(np.float32) for answer in view.answers[:2])
        return self.persons(to_frame(boxes, view.size, shown), scores, (height, width))

    def close(self) -> None:
        """Give the device's memory back; may be called again."""
        with self._lock:
            self._closed()


class View:
    """One input shape: its network's call, its memory, and a graph for each kind of frames."""

    def __init__(
        self, device: Device, model: DeviceModel, scratch: int, colour: Normalisation
    ) -> None:
        _, height, width = model.input.shape
        self.size = (height, width)
        self._device, self._colour = device, colour
        self._host = device.pinned((_REQUEST,), np.uint8)
        self._block = device.empty((_REQUEST,), np.uint8)
        self._crop = device.empty((1, *model.input.shape), model.input.dtype)
        self._found = [device.empty((1, *t.shape), t.dtype) for t in model.outputs]
        self.answers = [device.pinned((1, *t.shape), t.dtype) for t in model.outputs]
        self._network = model.network(scratch)
        pairs = zip((model.input, *model.outputs), (self._crop, *self._found), strict=True)
        self._network.bind(1, {tensor.name: memory.pointer for tensor, memory in pairs})
        self._graphs: dict[int, Graph | None] = {}

    def look(self, source: int, shown: Float, table: NDArray[Any], stream: Stream) -> None:
        """Queue a look at the frame of ``table``, of whom ``shown`` (4,) is the letterbox."""
        if source not in self._graphs:
            self._graphs[source] = self._graph(source, stream)
        self._host[:_BOX].view(np.int64)[:] = 0
        self._host[_BOX:_TABLE].view(np.float32)[:] = shown
        self._host[_TABLE:].view(ROW)[:] = table
        graph = self._graphs[source]
        if graph is not None:
            graph.launch(stream)
        else:
            self._queue(source, stream)

    def _graph(self, source: int, stream: Stream) -> Graph | None:
        """After a call outside of a capture, in which the network settles itself, on no frame."""
        self._host[:] = 0
        self._queue(source, stream)
        stream.synchronize()
        if not self._device.graphs:
            return None
        what = "the detector"
        return graph_of(
            self._device, stream, lambda: self._queue(source, stream), [self._network], what
        )

    def _queue(self, source: int, stream: Stream) -> None:
        device, block = self._device, self._block
        device.copy(block.pointer, self._host.ctypes.data, _REQUEST, stream)
        index, box = part(block, 0, (1,), np.int64), part(block, _BOX, (1, 4), np.float32)
        table = part(block, _TABLE, (1,), ROW)
        device.kernels.crop(source, table, box, index, self._crop, self._colour, stream.handle)
        self._network.enqueue(stream)
        for found, answer in zip(self._found, self.answers, strict=True):
            device.copy(answer.ctypes.data, found.pointer, answer.nbytes, stream)

    def close(self) -> None:
        """Give graphs and network back; no look may be under way."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()
        self._network.close()


def _close(stream: Stream, views: list[View]) -> None:
    stream.synchronize()
    for view in views:
        view.close()
    views.clear()
