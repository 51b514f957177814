"""TensorRT engines on an NVIDIA GPU (extra ``tensorrt``), built on first use.

A device backend: :class:`~edgepose.cascade.device.DeviceCascade` runs its models without coming
back to the host. As a host backend (:meth:`TensorRt.load`) every batch goes to the GPU and back,
for golden pairs, drift and the detector.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgepose.bundle import SHIPPED, Bundle, NetworkSpec
from edgepose.cuda.device import Device, Stream
from edgepose.cuda.driver import driver
from edgepose.cuda.network import RoundTrip
from edgepose.cuda.open import open_device
from edgepose.engine.build import BuiltEngine, Check, Report, engines
from edgepose.engine.cache import Cache, default_folder
from edgepose.engine.flavour import Flavour, open_flavour
from edgepose.engine.progress import Silent
from edgepose.engine.recipe import EngineRecipe
from edgepose.engine.request import Request, choose_targets
from edgepose.engine.runtime import TrtEngine
from edgepose.errors import EngineError

Loader = Callable[[NetworkSpec, bytes], RoundTrip]

_PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


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
        device: Device | None = None,
    ) -> None:
        """Find TensorRT and the GPU.

        ``threads`` means nothing here. ``build`` False: stop if an engine is missing. ``report`` is
        told about builds. ``options`` of ``edgepose-build`` that ask for the same engines, for the
        sentence that tells how to build them. ``check`` makes what measures the drift of engines
        built here, each by itself and then the cascade of them. ``device`` None: the first GPU.
        Raises EngineError, DeviceError or BackendError with the remedy.
        """
        self._driver = driver()
        if not self._driver.gpus:
            raise EngineError(
                f"backend tensorrt needs an NVIDIA GPU: {self._driver.problem}; use --backend "
                "onnxruntime"
            )
        self._flavour = open_flavour(flavour)
        self._targets, self._cuda = choose_targets(self._flavour, "host", self._driver)
        self.device: Device = device or open_device()
        self._stream = self.device.stream()
        self._recipe, self._build, self._options = recipe or EngineRecipe(), build, options
        self._report, self._check = report or Silent(), check
        self._found: dict[Path, dict[str, BuiltEngine]] = {}
        self._loaded: dict[tuple[Path, str], TrtEngine] = {}

    @property
    def precision(self) -> str:
        """Arithmetic of the networks."""
        return _PRECISIONS[self._recipe.precision]

    def open(self, bundle: Bundle, network: str) -> TrtEngine:
        """The engine of a bundle's network; all that the bundle lacks are built and measured."""
        key = bundle.folder, network
        if key not in self._loaded:
            if bundle.folder not in self._found:
                self._found[bundle.folder] = self._engines(bundle)
            found = self._found[bundle.folder][bundle.network(network).name]
            kernels = self._kernels_path(found)
            self._loaded[key] = TrtEngine(self._flavour, found.plan, self._stream, kernels)
        return self._loaded[key]

    def load(self, bundle: Bundle, network: str) -> RoundTrip:
        """The engine of a bundle's network for callers on the host."""
        return RoundTrip(self.device, self.open(bundle, network))

    def missing(self, bundle: Bundle) -> str:
        """Why the engines of a bundle cannot be used as they are; empty if they can."""
        try:
            engines(self._request(bundle), bundle.networks(), _cache(), Silent(), build=False)
        except EngineError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Keep the kernels that TensorRT-RTX compiled, and give memory back; what was opened must
        not be used any more."""
        for engine in self._loaded.values():
            engine.close()
        self._loaded.clear()

    def _engines(self, bundle: Bundle) -> dict[str, BuiltEngine]:
        """All of a bundle's engines, by name, in one go: so their cascade is measured, too."""
        check = self._check and self._check(bundle, self._try)
        found = engines(
            self._request(bundle),
            bundle.networks(),
            _cache(),
            self._report,
            build=self._build,
            check=check,
        )
        return {engine.network.name: engine for engine in found}

    def _request(self, bundle: Bundle) -> Request:
        folder = () if bundle.folder == SHIPPED else (str(bundle.folder),)
        options = (*folder, *self._options)
        return Request(bundle, self._flavour, self._targets, self._cuda, self._recipe, options)

    def _try(self, network: NetworkSpec, plan: bytes) -> RoundTrip:
        return RoundTrip(self.device, TrtEngine(self._flavour, plan, self._stream))

    def _kernels_path(self, engine: BuiltEngine) -> Path | None:
        """Where TensorRT-RTX's kernels are kept: they are for one kind of GPU and driver."""
        if not self._flavour.rtx:
            return None
        where = f"{self._targets[0]}-cuda{self._driver.cuda}"
        return _cache().folder / f"{Path(engine.manifest.plan).stem}-{where}.kernels"


def plan_loader(flavour: Flavour) -> Loader:
    """What loads plans on this machine's GPU, to measure them."""
    device = open_device()
    stream: Stream = device.stream()
    return lambda network, plan: RoundTrip(device, TrtEngine(flavour, plan, stream))


def plan_layers(flavour: Flavour, plan: bytes) -> Any:
    """What a plan consists of, as this machine's TensorRT tells it: parsed JSON."""
    engine = TrtEngine(flavour, plan, open_device().stream())
    try:
        return engine.layers()
    finally:
        engine.close()


def _cache() -> Cache:
    return Cache(default_folder())
