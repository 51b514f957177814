"""edgepose: real-time human pose on the edge, the DeepPose cascade as a streaming package.

Names are loaded when they are first asked for (PEP 562), so that one room can be imported alone.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from edgepose.version import __version__

if TYPE_CHECKING:
    from edgepose.api import astream, load, load_detector, open_source, stream
    from edgepose.bundle import Bundle
    from edgepose.cascade.host import HostCascade
    from edgepose.skeleton import COCO17, LSP14, Skeleton
    from edgepose.types import Person, Poses, Result
    from edgepose.verify.golden import verify_golden

# A picture of a few kilobytes may unpack to any size: OpenCV, which reads this when it is loaded,
# refuses more than 268 megapixels, 800 MB, instead of 3 GB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))

# Where each public name lives.
_HOMES = {
    "COCO17": "edgepose.skeleton",
    "LSP14": "edgepose.skeleton",
    "Bundle": "edgepose.bundle",
    "HostCascade": "edgepose.cascade.host",
    "Person": "edgepose.types",
    "Poses": "edgepose.types",
    "Result": "edgepose.types",
    "Skeleton": "edgepose.skeleton",
    "astream": "edgepose.api",
    "load": "edgepose.api",
    "load_detector": "edgepose.api",
    "open_source": "edgepose.api",
    "stream": "edgepose.api",
    "verify_golden": "edgepose.verify.golden",
}

__all__ = [
    "COCO17",
    "LSP14",
    "Bundle",
    "HostCascade",
    "Person",
    "Poses",
    "Result",
    "Skeleton",
    "__version__",
    "astream",
    "load",
    "load_detector",
    "open_source",
    "stream",
    "verify_golden",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        # A submodule that is asked for as an attribute: ``edgepose.crop.crop(…)``.
        try:
            return importlib.import_module(f"edgepose.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"edgepose.{name}":
                raise
            raise AttributeError(f"module 'edgepose' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
