"""The cascade of DeepPose (Toshev & Szegedy, CVPR 2014, section 3) over any backend.

Every stage has a worker: while stage 2 looks at one frame, stage 1 looks at the next. Where there
are more cores than stages and the backend allows it, a stage looks at two frames at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.backends import Backend, Network
from edgepose.bundle import Bundle
from edgepose.bundle_manifest import Pixels, StageSpec
from edgepose.cascade.pending import HostPending
from edgepose.cascade.workers import Workers
from edgepose.crop import crop, info
from edgepose.geometry import denormalise, joint_boxes, refine, square_boxes
from edgepose.nv12 import as_bgr
from edgepose.skeleton import Skeleton
from edgepose.types import Float, Frame, Image, Poses

# The boxes of a frame come from as many frames before: persons move on meanwhile.
_MOST_LANES = 2


class HostCascade:
    """A bundle's stages on a backend: ``poses = cascade(frame, boxes)``."""

    def __init__(self, bundle: Bundle, backend: Backend, stages: int | None = None) -> None:
        """Load the first ``stages`` networks (None: all)."""
        self.bundle, self.skeleton = bundle, bundle.skeleton
        self.backend = backend.name
        self.specs = bundle.manifest.stages[:stages]
        names = [f"stage{number}" for number in range(1, len(self.specs) + 1)]
        self.networks = [backend.load(bundle, name) for name in names]
        pixels = bundle.manifest.pixels
        self._stages: list[_Stage] = [
            (_First if number == 1 else _Refining)(number, spec, network, pixels, self.skeleton)
            for number, (spec, network) in enumerate(zip(self.specs, self.networks, strict=True), 1)
        ]
        self._lanes = min(_MOST_LANES, *(stage.at_once for stage in self._stages))
        self._workers = Workers("stage", [stage.run for stage in self._stages], lanes=self._lanes)
        crops = f"crops on the CPU ({info().path})"
        self.description = f"{bundle.name} on {backend.name}, {backend.precision}, {crops}"

    @property
    def depth(self) -> int:
        """How many calls keep every lane busy: one in each, one whose end is being looked at."""
        return self._lanes * len(self._stages) + 1

    @property
    def lanes(self) -> int:
        """How many calls a stage works on side by side."""
        return self._lanes

    @property
    def pool(self) -> None:
        """None: frames are read where they are."""

    @property
    def pace(self) -> float:
        """Seconds between calls that the slowest stage can keep up with, by the newest."""
        return max(stage.seconds for stage in self._stages) / self._lanes

    def submit(
        self, frames: Sequence[Frame], boxes: ArrayLike, frame_index: ArrayLike
    ) -> HostPending:
        """Begin the estimate of all persons of several frames.

        ``boxes`` (P, 4) or (P, 5) edges x0, y0, x1, y1 in pixels, tight around the person;
        ``frame_index`` (P,) says which of ``frames``, each (H, W, 3) uint8 BGR, a person is in.
        Waits only while more calls than stages are on their way. ValueError if a box is not finite
        or empty, or an index is none.
        """
        call = self._call([as_bgr(frame.image) for frame in frames], boxes, frame_index)
        if len(call.boxes):
            self._workers.put(call)
        return call

    def __call__(self, frame: Image, boxes: ArrayLike) -> Poses:
        """Estimate the pose of every person in one frame, in this thread; see :meth:`submit`."""
        call = self._call([frame], boxes, None)
        if len(call.boxes):
            for stage in self._stages:
                stage.run(call)
        return call.result()

    def close(self) -> None:
        """End the workers, which waits for what is on its way; may be called again."""
        self._workers.close()

    def _call(self, images: list[Image], boxes: ArrayLike, index: ArrayLike | None) -> HostPending:
        b = checked_boxes(boxes)
        i = np.zeros(len(b), np.int64) if index is None else np.asarray(index, np.int64).reshape(-1)
        if len(i) != len(b) or (len(b) and not 0 <= i.min() <= i.max() < len(images)):
            raise ValueError(f"frame_index must be ({len(b)},) from 0 to {len(images) - 1}")
        call = HostPending(images, b, i, len(self._stages))
        if not len(b):
            k = len(self.skeleton)
            for _ in self._stages:
                call.keep(np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32))
        return call


class _Stage:
    """One network and what leads to and from it; ``run`` never raises."""

    def __init__(
        self, number: int, spec: StageSpec, network: Network, pixels: Pixels, skeleton: Skeleton
    ) -> None:
        self.name, self.spec, self.skeleton = f"stage {number}", spec, skeleton
        self._network, self._pixels = network, pixels
        # Runtimes need not allow more than one caller.
        self.at_once: int = getattr(network, "at_once", 1)
        self._callers = threading.BoundedSemaphore(self.at_once)
        self.seconds = 0.0  # of a call, a running mean

    def run(self, call: HostPending) -> None:
        if call.error is not None:
            return
        try:
            with self._callers:
                start = time.perf_counter()
                estimate = self.estimate(call)
                self.seconds += 0.2 * (time.perf_counter() - start - self.seconds)
            call.keep(*estimate)
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
            call.fail(error)

    def estimate(self, call: HostPending) -> tuple[Float, Float]:
        """Joints (P, k, 2) in pixels and their scores (P, k)."""
        raise NotImplementedError

    def network(
        self, call: HostPending, boxes: Float, index: NDArray[np.int64]
    ) -> tuple[Float, Float]:
        """``ψ(N(x; b); θ_s)``: every box cut out, normalised and shown to the network."""
        start, p = time.perf_counter(), self._pixels
        crops = crop(
            call.images,
            boxes,
            self.spec.size,
            frame_index=index,
            scale=p.scale,
            mean=p.mean,
            std=p.std,
        )
        cut = time.perf_counter()
        points, scores = self._network(np.asarray(crops, np.float32))[:2]
        seconds = call.poses.seconds
        seconds["crop"] = seconds.get("crop", 0.0) + cut - start
        seconds[self.name] = time.perf_counter() - cut
        return points, scores


class _First(_Stage):
    """``y¹ = N⁻¹(ψ(N(x; b⁰); θ_1); b⁰)``."""

    def estimate(self, call: HostPending) -> tuple[Float, Float]:
        b0 = square_boxes(call.boxes, self.spec.extent)
        points, scores = self.network(call, b0, call.index)
        return denormalise(points, b0), scores


class _Refining(_Stage):
    """``b_i = (y_i, σ·diam(y), σ·diam(y))``, ``y_i += ψ_i(N(x; b_i); θ_s)`` in sides of ``b_i``."""

    def estimate(self, call: HostPending) -> tuple[Float, Float]:
        y = call.poses.joints
        b_i = joint_boxes(y, self.skeleton, self.spec.extent)
        index = np.repeat(call.index, y.shape[1])
        displacements, scores = self.network(call, b_i.reshape(-1, 4), index)
        return refine(y, displacements.reshape(y.shape), b_i), scores.reshape(y.shape[:2])


def checked_boxes(boxes: ArrayLike) -> Float:
    """Boxes (P, 4) float32 from (P, 4) or (P, 5); ValueError unless finite and not empty."""
    with np.errstate(over="ignore"):  # too large for float32: infinite, hence refused below
        b = np.asarray(boxes, np.float32)
    if b.size == 0:
        return np.zeros((0, 4), np.float32)
    if b.ndim != 2 or b.shape[1] not in (4, 5):
        raise ValueError(f"boxes must be (P, 4), not {b.shape}")
    b = b[:, :4]
    if not (np.isfinite(b).all() and (b[:, 2:] > b[:, :2]).all()):
        raise ValueError("boxes must be finite with x0 < x1 and y0 < y1")
    return b
