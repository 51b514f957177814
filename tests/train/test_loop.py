import itertools
import json

import pytest
import torch
from torch import nn

from edgepose.errors import TrainingError
from edgepose.train.checkpoints import load_checkpoint
from edgepose.train.loop import Ema, Plan, train
from edgepose.train.recipe import OptimiserRecipe


def line(step: int = 0):
    """Endless batches of y = 3 x - 1, from a step on."""
    for number in itertools.count(step):
        x = torch.rand(16, 1, generator=torch.Generator().manual_seed(number))
        yield {"x": x, "y": 3 * x - 1}


def loss(model, batch):
    error = ((model(batch["x"]) - batch["y"]) ** 2).mean()
    return {"loss": error}


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


PLAN = {"optimiser": OptimiserRecipe(lr=0.1, weight_decay=0.0, warmup=1, ema=0.5)}


def test_it_learns_logs_and_gives_the_average(tmp_path):
    model = train(fresh(), loss, line, Plan(steps=300, **PLAN), tmp_path)
    assert abs(float(model.weight) - 3) < 0.1
    assert abs(float(model.bias) + 1) < 0.1
    assert not model.training
    log = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [50, 100, 150, 200, 250, 300]
    assert log[-1]["loss"] < log[0]["loss"]


def test_a_stopped_run_goes_on(tmp_path):
    whole = train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "whole")
    train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "parts", until=0.5)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 20
    parts = train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "parts")
    assert torch.equal(whole.weight, parts.weight)


def test_time_ends_a_run(tmp_path):
    train(fresh(), loss, line, Plan(steps=10**9, minutes=0.01, **PLAN), tmp_path)
    assert 0 < load_checkpoint(tmp_path / "checkpoint.pt")["step"] < 10**6


def test_a_loss_that_is_not_finite_names_the_step(tmp_path):
    def bad(model, batch):
        return {"loss": loss(model, batch)["loss"] * float("nan")}

    with pytest.raises(TrainingError, match="step 0"):
        train(fresh(), bad, line, Plan(steps=5, **PLAN), tmp_path)


def test_another_networks_checkpoint_is_refused(tmp_path):
    train(fresh(), loss, line, Plan(steps=2, **PLAN), tmp_path)
    with pytest.raises(TrainingError, match="another network"):
        train(nn.Linear(1, 2), loss, line, Plan(steps=4, **PLAN), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_ema_follows_parameters_and_buffers():
    model = nn.BatchNorm1d(1)
    ema = Ema(model, 0.9)
    model.weight.data.fill_(2.0)
    model.running_mean.fill_(10.0)
    for step in range(1, 400):
        ema.update(model, step)
    assert float(ema.model.weight) == pytest.approx(2.0, abs=1e-3)
    assert float(ema.model.running_mean) == pytest.approx(10.0, abs=1e-3)
