"""Drift of engines from the reference, in sides of the crop and in pixels of a 220-pixel person.

Where there is a GPU of the engine's kind the engine itself runs. Elsewhere the network that it was
built from is run with its roundings emulated (:mod:`edgepose.verify.emulate`): that finds what
precision costs, not what a faulty engine would do, and the result says which of both it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgepose.backends import open_backend
from edgepose.bundle import Bundle, NetworkSpec
from edgepose.cascade.host import HostCascade
from edgepose.engine.convert import strongly_typed
from edgepose.engine.manifest import Drift, Identity
from edgepose.geometry import denormalise, torso_diameter
from edgepose.nv12 import as_bgr
from edgepose.people.detector import Detector
from edgepose.sources.open import SAMPLE_BOX, open_source
from edgepose.types import Float
from edgepose.verify.emulate import Emulated

HEIGHT = 220  # pixels, of the person that drift is told for
ENGINE, NETWORK = "engine", "network"

Run = Callable[[Float], tuple[Float, ...]]
Loader = Callable[[NetworkSpec, bytes], Run]


class Verifier:
    """Measures engines of one bundle; ``loader`` loads plans where there is a GPU, else None."""

    def __init__(self, bundle: Bundle, loader: Loader | None) -> None:
        self._bundle, self._loader = bundle, loader
        self._runs: dict[str, Run] = {}
        self.whole: Drift | None = None  # what end_to_end found

    def __call__(self, network: NetworkSpec, identity: Identity, plan: bytes) -> Drift:
        """Drift of one engine from the reference: golden pairs, or for the detector float32."""
        if self._loader is not None:
            run, of = self._loader(network, plan), ENGINE
        else:
            model = strongly_typed(network.path, identity.precision, identity.float32)
            run, of = Emulated(model), NETWORK
        self._runs[network.name] = run
        if network.stage is None:
            return self._detector(network, run, of)
        number = network.stage
        with np.load(self._bundle.path(self._bundle.manifest.golden.file)) as golden:
            inputs, points, scores = (golden[f"{n}{number}"] for n in ("input", "points", "scores"))
            first = golden["points1"]
        found = run(inputs.astype(np.float32))
        off = float(np.max(np.linalg.norm(found[0] - points, axis=-1)))
        side = self._side(number, first)
        return Drift(off, off * side, float(np.max(np.abs(found[1] - scores))), of)

    def _side(self, number: int, first: NDArray[np.float64]) -> float:
        """Side of a stage's crop on a 220-pixel person in stage 1's golden pose, pixels."""
        stages = self._bundle.manifest.stages
        side = HEIGHT * stages[0].extent
        if number == 1:
            return side
        box = np.array([0, 0, side, side], np.float32)
        torso = torso_diameter(denormalise(first, box), self._bundle.skeleton)
        return float(np.max(torso)) * stages[number - 1].extent

    def _detector(self, network: NetworkSpec, run: Run, of: str) -> Drift:
        """The best box of the sample's first frame, against float32."""
        pixels, (_, side, width) = self._bundle.manifest.pixels, network.shape
        both = _Both(open_backend().load(self._bundle, network.name), run)
        Detector(both, (side, width), scale=pixels.scale, mean=pixels.mean, std=pixels.std)(
            _sample()
        )
        boxes, scores, found = both.exact[0][0], both.exact[1], both.found
        best = int(np.argmax(scores[0]))
        off = float(np.max(np.abs(found[0][0, best] - boxes[best])))
        height = max(float(boxes[best, 3] - boxes[best, 1]), 1.0)
        # Of the boxes that count, by either; a score that is no number counts.
        spec = self._bundle.manifest.detector
        least = 0.0 if spec is None else spec.score
        counted = ~(np.maximum(scores, found[1]) < least)
        scored = float(np.max(np.abs(found[1] - scores)[counted], initial=0.0))
        return Drift(off / side, off * HEIGHT / height, scored, of)

    def end_to_end(self) -> Drift | None:
        """Drift of the last stage's joints on the sample's first frame, against float32.

        Crops follow the drifting joints here. None unless every stage was measured.
        """
        bundle = self._bundle
        stages = [network.name for network in bundle.networks() if network.stage is not None]
        if not all(name in self._runs for name in stages):
            return None
        exact = HostCascade(bundle, open_backend())
        frame = _sample()
        boxes = self._persons(frame)
        wanted, found = exact(frame, boxes), HostCascade(bundle, _Loaded(self._runs))(frame, boxes)
        longer = float(np.max(boxes[:, 2:4] - boxes[:, :2]))
        off = float(np.max(np.linalg.norm(found.joints - wanted.joints, axis=-1)))
        scored = float(np.max(np.abs(found.scores - wanted.scores)))
        of = ENGINE if self._loader is not None else NETWORK
        self.whole = Drift(off / longer, off * HEIGHT / longer, scored, of)
        return self.whole

    def _persons(self, frame: NDArray[np.uint8]) -> Float:
        """The best box of the detector, by float32; the known one without a detector."""
        if self._bundle.manifest.detector is not None:
            found = Detector.load(self._bundle, open_backend())(frame)
            if len(found):
                return found[:1]
        return np.array([SAMPLE_BOX], np.float32)


class _Both:
    """Two networks on one picture; gives what the first one says."""

    def __init__(self, exact: Run, other: Run) -> None:
        self._exact, self._other = exact, other
        self.exact: tuple[Float, ...] = ()
        self.found: tuple[Float, ...] = ()

    def __call__(self, picture: Float) -> tuple[Float, ...]:
        self.exact, self.found = self._exact(picture), self._other(picture)
        return self.exact


class _Loaded:
    """A backend whose networks are there already, by name."""

    name, precision = "verified", "mixed"

    def __init__(self, runs: dict[str, Run]) -> None:
        self._runs = runs

    def load(self, bundle: Bundle, network: str) -> Run:
        """The network of that name."""
        return self._runs[network]


def _sample() -> NDArray[np.uint8]:
    """First frame of the clip that ships."""
    with open_source("sample") as source:
        return as_bgr(next(iter(source)).image)
