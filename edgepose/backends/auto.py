"""What ``auto`` means: a GPU whose engines are built, or else ONNX Runtime; and why.

Nothing is built here, and nothing that could end the process is tried where there is no GPU.
"""

from __future__ import annotations

import importlib.util

from edgepose.backends import Backend, open_backend
from edgepose.bundle import Bundle
from edgepose.crop.native import has_cuda
from edgepose.cuda.driver import driver
from edgepose.engine.flavour import installed
from edgepose.errors import EdgeposeError


def open_auto(bundle: Bundle, threads: int | None = None) -> tuple[Backend, str]:
    """The backend for a bundle on this machine, and why it is that one, in a few words."""
    gpu, reason = _gpu(bundle)
    if gpu is not None:
        return gpu, reason
    return open_backend("onnxruntime", threads), reason


def _gpu(bundle: Bundle) -> tuple[Backend | None, str]:
    found = driver()
    if not found.gpus:
        return None, found.problem
    if not has_cuda():
        return None, "there is a GPU, but edgepose was built without CUDA"
    if not installed():
        hint = "; --backend torch can use it" if importlib.util.find_spec("torch") else ""
        return None, f"there is a GPU, but TensorRT is not installed{hint}"
    from edgepose.backends.tensorrt import TensorRt

    try:
        backend = TensorRt(build=False)
        missing = backend.missing(bundle)
    except EdgeposeError as error:
        missing = str(error)
    if missing:
        return None, f"there is a GPU, but {missing}"
    return backend, f"the engines are built for {found.gpus[0].name}"
