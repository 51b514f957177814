"""TensorRT engines on an NVIDIA GPU (extra ``tensorrt``), built on first use.

Memory, streams and events come from pycuda, in the device's primary context, which torch and other
libraries in the process share. The context is current only during a call, in the calling thread,
so any thread may call.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.bundle import SHIPPED, Bundle, NetworkSpec
from edgepose.engine.adapter import Flavour, open_flavour
from edgepose.engine.build import Check, Report, Request, choose_targets, engines
from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.driver import driver
from edgepose.engine.progress import Silent
from edgepose.engine.recipe import EngineRecipe
from edgepose.engine.runtime import TrtEngine
from edgepose.errors import BackendError, EngineError
from edgepose.files import write_whole


class Device:
    """The first GPU's primary context, by pycuda."""

    def __init__(self) -> None:
        """Take the context; BackendError if pycuda is missing or does not work."""
        try:
            self.cuda: Any = importlib.import_module("pycuda.driver")
            self.cuda.init()
            self._context = self.cuda.Device(0).retain_primary_context()
        except ImportError as error:
            raise BackendError(
                f"backend tensorrt needs pycuda ({error}); install it with: "
                'pip install "edgepose[tensorrt]" (it needs the CUDA toolkit: see docs/jetson.md)'
            ) from error
        except Exception as error:
            raise BackendError(
                f"pycuda cannot use the GPU ({error}); see what is wrong with: edgepose-doctor"
            ) from error

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """The context, current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()


class _Resources:
    """An engine with its stream, event and buffers: pinned on the host, and on the device."""

    def __init__(self, device: Device, flavour: Flavour, plan: bytes, kernels: bytes) -> None:
        cuda, self._device = device.cuda, device
        self._closing = contextlib.ExitStack()
        with device.current(), contextlib.ExitStack() as opened:
            self.engine = TrtEngine(flavour, plan, kernels)
            opened.callback(self.engine.close)
            self.stream, self.done = cuda.Stream(), cuda.Event()
            self.engine.use_stream(self.stream.handle)
            self.host: dict[str, Any] = {}
            self.memory: dict[str, Any] = {}
            for tensor in self.engine.tensors:
                self.host[tensor.name] = cuda.pagelocked_empty(tensor.most, tensor.dtype)
                self.memory[tensor.name] = cuda.mem_alloc(tensor.bytes)
                opened.callback(self.memory[tensor.name].free)
                self.engine.set_address(tensor, int(self.memory[tensor.name]))
            self._closing = opened.pop_all()

    def close(self) -> None:
        """Free all of it; may be called again."""
        with self._device.current():
            self._closing.close()
            self.host.clear()
            self.stream = self.done = None


class TensorRtNetwork:
    """An engine with its buffers; calls may come from any thread, one runs at a time.

    Batches beyond the engine's largest are split; below its least they are filled up with zeros.
    """

    def __init__(self, device: Device, flavour: Flavour, plan: bytes, kernels: Path | None) -> None:
        """Load a plan. ``kernels``: where TensorRT-RTX keeps what it compiles for this GPU."""
        self._device, self._lock, self._kernels = device, threading.Lock(), kernels
        self._own = _Resources(device, flavour, plan, _read(kernels))
        # Also when the interpreter ends, while CUDA is still there.
        self._closed = weakref.finalize(self, self._own.close)

    def __call__(self, batch: NDArray[np.float32], /) -> tuple[NDArray[np.float32], ...]:
        """Run one batch (n, 3, h, w) float32; outputs (n, …) float32, the caller's own."""
        with self._lock:
            if not self._closed.alive:
                raise BackendError("this network is closed; load it again")
            most, *sides = self._own.engine.tensors[0].most
            if batch.ndim != 4 or list(batch.shape[1:]) != sides or len(batch) == 0:
                raise ValueError(f"the batch must be (n, *{tuple(sides)}), not {batch.shape}")
            with self._device.current():
                parts = [self._run(batch[i : i + most]) for i in range(0, len(batch), most)]
                self._keep_kernels()
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))

    def _run(self, rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        cuda, own = self._device.cuda, self._own
        source, *outputs = own.engine.tensors
        count = max(len(rows), own.engine.least)
        own.engine.set_batch(source, count)
        host = own.host[source.name][:count]
        host[: len(rows)], host[len(rows) :] = rows, 0
        cuda.memcpy_htod_async(own.memory[source.name], host, own.stream)
        own.engine.enqueue(own.stream.handle)
        results = []
        for tensor in outputs:
            shape = own.engine.shape(tensor)
            flat = own.host[tensor.name].reshape(-1)[: int(np.prod(shape))]
            cuda.memcpy_dtoh_async(flat, own.memory[tensor.name], own.stream)
            results.append(flat.reshape(shape))
        own.done.record(own.stream)
        own.done.synchronize()
        # Copies: the next call writes over the pinned buffers.
        return [np.array(r[: len(rows)], np.float32) for r in results]

    def _keep_kernels(self) -> None:
        """Keep what the first call compiled, once; without it the next start is slow."""
        path, self._kernels = self._kernels, None
        if path is not None and not path.exists():
            with contextlib.suppress(OSError):
                write_whole(path, self._own.engine.kernels())

    def layers(self) -> Any:
        """What the engine consists of, as TensorRT's inspector tells it."""
        with self._lock, self._device.current():
            return self._own.engine.layers()

    def close(self) -> None:
        """Free the GPU's memory; may be called again. Otherwise it happens when this goes."""
        with self._lock:
            self._closed()


def _read(path: Path | None) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes() if path is not None else b""
    return b""


Loader = Callable[[NetworkSpec, bytes], TensorRtNetwork]


class TensorRt:
    """Backend ``tensorrt``: engines of the bundle's networks for the GPU at hand."""

    name = "tensorrt"

    def __init__(
        self,
        threads: int | None = None,
        *,
        recipe: EngineRecipe | None = None,
        build: bool = True,
        report: Report | None = None,
        flavour: str = "auto",
        options: tuple[str, ...] = (),
        check: Callable[[Bundle, Loader], Check] | None = None,
    ) -> None:
        """Find TensorRT and the GPU.

        ``threads`` means nothing here. ``build`` False: stop if an engine is missing. ``report`` is
        told about builds. ``options`` of ``edgepose-build`` that ask for the same engines, for the
        sentence that tells how to build them. ``check`` makes what measures the drift of engines
        built here. Raises EngineError or BackendError with the remedy.
        """
        found = driver()
        if not found.gpus:
            raise EngineError(
                f"backend tensorrt needs an NVIDIA GPU: {found.problem}; use --backend onnxruntime"
            )
        self._flavour = open_flavour(flavour)
        self._targets, self._cuda = choose_targets(self._flavour, "host", found)
        self._device = Device()
        self._recipe, self._build, self._options = recipe or EngineRecipe(), build, options
        self._report, self._check = report or Silent(), check

    @property
    def precision(self) -> str:
        """Arithmetic of the networks."""
        return {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}[self._recipe.precision]

    def load(self, bundle: Bundle, network: str) -> TensorRtNetwork:
        """The engine of a bundle's network, found, or built and measured."""
        folder = () if bundle.folder == SHIPPED else (str(bundle.folder),)
        options = (*folder, *self._options)
        request = Request(bundle, self._flavour, self._targets, self._cuda, self._recipe, options)
        cache = Cache(default_folder())
        check = self._check and self._check(bundle, lambda _, plan: self._network(plan, None))
        wanted = [bundle.network(network)]
        (engine,) = engines(request, wanted, cache, self._report, build=self._build, check=check)
        kernels = cache.folder / f"{Path(engine.manifest.plan).stem}.kernels"
        return self._network(engine.plan, kernels if self._flavour.rtx else None)

    def _network(self, plan: bytes, kernels: Path | None) -> TensorRtNetwork:
        return TensorRtNetwork(self._device, self._flavour, plan, kernels)
