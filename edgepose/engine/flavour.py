"""The flavours of TensorRT: which are installed, and one of them imported, behind one face."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, cast

from edgepose.engine import api
from edgepose.errors import EngineError

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # name, module
RTX = "tensorrt-rtx"
CHOICE = "EDGEPOSE_TENSORRT"  # environment variable that settles which of two is meant


class Module(Protocol):
    """``tensorrt`` or ``tensorrt_rtx``."""

    __version__: str
    NetworkDefinitionCreationFlag: type[api.NetworkDefinitionCreationFlag]
    MemoryPoolType: type[api.MemoryPoolType]
    BuilderFlag: type[api.BuilderFlag]
    ProfilingVerbosity: type[api.ProfilingVerbosity]
    LayerInformationFormat: type[api.LayerInformationFormat]
    ExecutionContextAllocationStrategy: type[api.ExecutionContextAllocationStrategy]
    TensorIOMode: type[api.TensorIOMode]
    ILogger: Any
    IErrorRecorder: Any
    IProgressMonitor: Any
    Builder: Callable[[Any], api.Builder]
    OnnxParser: Callable[[api.INetworkDefinition, Any], api.OnnxParser]
    Runtime: Callable[[Any], api.Runtime]
    nptype: Callable[[Any], Any]


@dataclass(frozen=True)
class Flavour:
    """An imported TensorRT: its name as users type it, and its exact version."""

    name: str
    version: str
    module: Module

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT for RTX, which builds without a GPU."""
        return self.name == RTX

    @property
    def targets(self) -> tuple[str, ...]:
        """Compute capabilities it can build for with no such GPU present: ``sm86``, …"""
        if not self.rtx:
            return ()
        members: Mapping[str, Any] = cast(Any, self.module).ComputeCapability.__members__
        return tuple(name.lower() for name in members if name.startswith("SM"))


def installed() -> list[str]:
    """Names of the flavours that are installed; imports none of them."""
    return [name for name, module in FLAVOURS.items() if importlib.util.find_spec(module)]


def open_flavour(name: str = "auto") -> Flavour:
    """Import a flavour; "auto" is the only one installed, or what EDGEPOSE_TENSORRT says.

    Raises EngineError if there is none, or two and no choice, or its import fails.
    """
    wanted = os.environ.get(CHOICE) or "auto" if name == "auto" else name
    if wanted != "auto" and wanted not in FLAVOURS:
        raise EngineError(
            f"there is no TensorRT flavour {wanted!r}; choose auto, {' or '.join(FLAVOURS)}"
        )
    found = installed()
    if wanted == "auto":
        if len(found) > 1:
            raise EngineError(
                f"both {' and '.join(found)} are installed; say which with --flavour or in the "
                f"environment variable {CHOICE}"
            )
        if not found:
            raise EngineError(
                "TensorRT is not installed; on a Jetson it comes with JetPack (apt install "
                "python3-libnvinfer), elsewhere: pip install tensorrt (for the GPU at hand) or "
                "tensorrt-rtx (builds without a GPU)"
            )
        wanted = found[0]
    if wanted not in found:
        raise EngineError(f"{wanted} is not installed; install it with: pip install {wanted}")
    try:
        module = importlib.import_module(FLAVOURS[wanted])
        return Flavour(wanted, str(module.__version__), cast(Module, _checked(module)))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise EngineError(
            f"{wanted} is installed but cannot be imported ({reason}); install it again, its "
            "libraries and its Python part in the same version"
        ) from error


def _checked(module: ModuleType) -> ModuleType:
    """The module, if it has what a whole TensorRT has: a lone folder of that name imports too."""
    for name in ("Builder", "OnnxParser", "Runtime"):
        getattr(module, name)
    return module
