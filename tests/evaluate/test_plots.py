"""Plots as files: they open, hold what they should, and refuse what they cannot draw."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.evaluate import plots
from edgepose.evaluate.estimates import Estimates
from edgepose.skeleton import LSP14

K = len(LSP14)


def estimates(n=200):
    """Persons whose joints hit as often as their scores say; the neck is never labelled."""
    rng = np.random.default_rng(0)
    truth = np.tile(rng.normal(0, 50, (1, K, 2)), (n, 1, 1)).astype(np.float32)
    scores = rng.random((n, K)).astype(np.float32)
    joints = truth + 1e4 * (rng.random((n, K, 1)) > scores[..., None])
    labelled = np.ones((n, K), bool)
    labelled[:, LSP14.index("neck")] = False
    stages = [joints.astype(np.float32)]
    names = ["a.png"] * n
    return Estimates(LSP14, list(range(n)), names, truth, labelled, stages, [scores], np.ones(n))


def test_reliability_has_a_panel_per_joint_and_names_each_set():
    drawing = plots.reliability({"some set": estimates(), "other": estimates(20)}, ".svg").decode()
    for name in LSP14.joints:
        assert f"<!-- {name.replace('_', ' ')} -->" in drawing
    assert drawing.count("<!-- some set (") == K  # every joint but the neck, and all together
    assert "<!-- all joints -->" in drawing


def test_a_png_is_a_picture():
    encoded = np.frombuffer(plots.reliability({"a": estimates()}, ".PNG"), np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1100
    assert picture.std() > 10


def test_learning_curve_takes_the_held_out_rows():
    rows = [
        {"step": 50, "minutes": 1.0, "loss": 2.0},
        {"step": 1000, "minutes": 2.0, "lspet_pck0.1": 10.0, "lspet_pck0.2": 30.0},
        {"step": 2000, "minutes": 4.0, "lspet_pck0.1": 12.0, "lspet_pck0.2": 40.0},
    ]
    drawing = plots.learning_curve({"stage 1": rows, "empty": []}, ".svg").decode()
    assert drawing.count("<!-- stage 1 lspet_pck0.2 -->") == 1
    assert "pck0.1 -->" not in drawing


@pytest.mark.parametrize("name", ["plot", "plot.gif", "-"])
def test_formats_that_cannot_be_drawn(name):
    with pytest.raises(OutputError, match=r"\.png, \.svg, \.pdf"):
        plots.check_format(Path(name))


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match=r"edgepose\[plots\]"):
        plots.check_format(Path("plot.png"))
