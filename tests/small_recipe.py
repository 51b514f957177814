"""A recipe of DeepPose so small that two steps of it take no time, as a user would write it."""

from __future__ import annotations

from pathlib import Path

_HEAD = """name = "own"
version = "1"
"""
_STAGE = """
[[stage]]
kind = "{kind}"
network = "alexnet"
head = "regression"
options = {{ width = 0.05, hidden = {hidden}, dropout = 0.0 }}
sizes = [64]
batch = 2
minutes = 1
loss = "l2"
optimiser = {{ name = "adagrad", lr = 1e-3, warmup = 1 }}
"""
_HOLISTIC = "extent = 1.15\n"
_REFINE = 'extent = 2.0\ncrops = 2\ndisplacements = "normal"\n'


def write_recipe(path: Path, stages: int = 2, hidden: int = 64) -> Path:
    """Write it with so many stages to ``path`` and return that."""
    text = _HEAD + _STAGE.format(kind="holistic", hidden=hidden) + _HOLISTIC
    for _ in range(stages - 1):
        text += _STAGE.format(kind="refine", hidden=hidden) + _REFINE
    path.write_text(text)
    return path
