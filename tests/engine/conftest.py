"""What the engine tests share: TensorRT-RTX, and a small bundle that builds in no time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgepose.bundle import Bundle
from edgepose.engine.cache import Cache
from edgepose.engine.flavour import Flavour, open_flavour
from edgepose.engine.progress import Silent
from edgepose.engine.recipe import EngineRecipe
from edgepose.engine.request import Request


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT for RTX, which builds without a GPU."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx is not installed: there is no wheel for this platform")
    return open_flavour("tensorrt-rtx")


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships."""
    return Bundle()


@pytest.fixture
def request_for(rtx, bundle):
    """Ask for engines: ``request_for("sm86", precision="fp32")``."""

    def make(*targets: str, options=("--target", "sm86"), cuda="", **recipe) -> Request:
        return Request(bundle, rtx, targets or ("sm86",), cuda, EngineRecipe(**recipe), options)

    return make


@pytest.fixture
def smallest(bundle):
    """The bundle's smallest network, as a list."""
    return [min(bundle.networks(), key=lambda n: n.path.stat().st_size)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "engines")


class Notes(Silent):
    """A report that keeps what it is told."""

    def __init__(self):
        self.notes, self.waits, self.names = [], [], []

    def note(self, sentence):
        self.notes.append(sentence)

    def waiting(self, folder):
        self.waits.append(folder)

    def built(self, network):
        self.names.append(network.name)


@pytest.fixture
def notes() -> Notes:
    return Notes()
