"""Opening backends, and what each of them must do."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edgepose.backends import BACKENDS, default_threads, open_backend
from edgepose.bundle import Bundle
from edgepose.errors import BackendError
from edgepose.verify.golden import verify_golden

# TensorRT needs a GPU and rounds to float16: see tests/engine/test_tensorrt.py.
INSTALLED = [
    name
    for name, (_, _, package) in BACKENDS.items()
    if name != "tensorrt" and importlib.util.find_spec(package)
]
EACH = pytest.mark.parametrize("name", INSTALLED)


def test_auto_is_onnxruntime():
    backend = open_backend()
    assert (backend.name, backend.precision) == ("onnxruntime", "float32")


def test_an_unknown_backend():
    with pytest.raises(BackendError, match="unknown backend 'abacus'; choose one of auto, onnxr"):
        open_backend("abacus")


@pytest.mark.parametrize("name", sorted({*BACKENDS} - {"tensorrt", "torch"}))
def test_a_backend_that_is_not_installed(monkeypatch, name):
    module, _, package = BACKENDS[name]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(BackendError, match=rf"{name} is not installed .*pip install {package}$"):
        open_backend(name)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one(threads):
    with pytest.raises(BackendError, match=f"threads must be at least 1, not {threads}"):
        open_backend("auto", threads)


def test_default_threads_are_the_cores_up_to_four(monkeypatch):
    for cores, expected in ((1, 1), (2, 2), (4, 4), (7, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert default_threads() == expected


@EACH
@pytest.mark.parametrize("content", [b"", b"not a network", None], ids=["empty", "text", "missing"])
def test_a_file_that_is_no_network(tmp_path, name, content):
    path = tmp_path / "network.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError, match=f"^{name} cannot load .*network.onnx"):
        open_backend(name, 1).load(
            SimpleNamespace(network=lambda _: SimpleNamespace(path=path, rows=1)), "x"
        )


@EACH
def test_golden_pairs(name):
    bundle = Bundle()
    worst = verify_golden(bundle, open_backend(name, 1))
    assert list(worst) == [f"stage {n}" for n in range(1, len(bundle.manifest.stages) + 1)]
    assert all(0 <= error < 1e-3 for error in worst.values())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_persons_numbers_do_not_depend_on_who_else_is_there(threads):
    network = open_backend("onnxruntime", threads).load(Bundle(), "stage1")
    crops = np.random.default_rng(0).normal(0, 1, (3, 3, 192, 192)).astype(np.float32)
    together = network(crops)
    for i in range(3):
        for all_, own in zip(together, network(crops[i : i + 1]), strict=True):
            np.testing.assert_array_equal(all_[i], own[0])


@EACH
def test_outputs_do_not_share_memory_with_the_next_call(name):
    bundle = Bundle()
    spec = bundle.manifest.stages[0]
    network = open_backend(name, 1).load(bundle, "stage1")
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1, 3, spec.size, spec.size)).astype(np.float32)
    points, scores = network(first)
    kept = points.copy(), scores.copy()
    network(second)
    np.testing.assert_array_equal(points, kept[0])
    np.testing.assert_array_equal(scores, kept[1])
    assert points.dtype == scores.dtype == np.float32


class Lying:
    """onnxruntime, but for what ``spoil`` does to the outputs of one network."""

    name, precision = "lying", "float32"

    def __init__(self, spoil, spoiled="stage1"):
        self.spoil, self.spoiled = spoil, spoiled

    def load(self, bundle, name):
        network = open_backend("onnxruntime", 1).load(bundle, name)
        return (lambda x: self.spoil(*network(x))) if name == self.spoiled else network


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points, scores: (points + np.float32(0.01), scores),
        lambda points, scores: (points, scores - np.float32(0.01)),
        lambda points, scores: (points * np.float32(np.nan), scores),
        lambda points, scores: (points, scores * np.float32(np.nan)),
        lambda points, scores: (points[..., ::-1], scores),
    ],
    ids=["points", "scores", "points nan", "scores nan", "x and y exchanged"],
)
def test_a_backend_that_lies_is_refused(spoil):
    bundle = Bundle()
    last = len(bundle.manifest.stages)
    message = rf"lying is wrong on stage {last} .*off by .*use --backend onnxruntime"
    with pytest.raises(BackendError, match=message):
        verify_golden(bundle, Lying(spoil, f"stage{last}"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points, scores: (points,),
        lambda points, scores: (points[:, :1], scores),
        lambda points, scores: (points, scores[..., None]),
    ],
    ids=["one output", "one joint", "one axis more"],
)
def test_a_backend_with_other_shapes_is_refused(spoil):
    with pytest.raises(BackendError, match=r"lying is wrong on stage 1 .*other shapes"):
        verify_golden(Bundle(), Lying(spoil))
