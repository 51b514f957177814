"""Others on the same machine, when the user names them: a MoveNet ONNX file, MediaPipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from edgepose.bench.measure import Effort, timed
from edgepose.bench.results import Row
from edgepose.errors import BackendError
from edgepose.types import Image


def peer(name: str, threads: int, frame: Image, effort: Effort) -> Row:
    """Time one peer on one person's crop: ``mediapipe``, or the path of a one-input ONNX network.

    BackendError if it is not there or does not run.
    """
    if name == "mediapipe":
        return _mediapipe(frame, effort)
    path = Path(name)
    if not path.is_file():
        raise BackendError(f"no peer {name!r}; give mediapipe or the path of an ONNX network")
    return _onnx(path, threads, effort)


def _onnx(path: Path, threads: int, effort: Effort) -> Row:
    """A network on a picture of its own size and type, in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        kind = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
        shape = [side if isinstance(side, int) else 1 for side in given.shape]
        picture = np.random.default_rng(0).integers(0, 256, shape).astype(kind[given.type])
        figures = timed(lambda: session.run(None, {given.name: picture}), effort)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"{path} cannot be run as a network of one input: {reason}") from error
    return Row("peer", path.name, threads, 1, *figures)


def _mediapipe(frame: Image, effort: Effort) -> Row:
    """MediaPipe Pose, full, following one person, on its own threads."""
    if importlib.util.find_spec("mediapipe") is None:
        raise BackendError("mediapipe is not installed; install it with: pip install mediapipe")
    import mediapipe

    solutions = getattr(mediapipe, "solutions", None)
    if solutions is None:
        raise BackendError(
            "this mediapipe has no Pose solution; install one that has: "
            "pip install mediapipe==0.10.14"
        )
    picture = np.ascontiguousarray(frame[:, :, ::-1])
    with solutions.pose.Pose(model_complexity=1) as pose:
        figures = timed(lambda: pose.process(picture), effort)
    return Row("peer", "mediapipe full", 0, 1, *figures)
