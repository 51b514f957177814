import contextlib
import itertools
import json
import os
import random
import signal
import time

import pytest
import torch
from torch import nn

from edgepose.errors import TrainingError
from edgepose.train.checkpoints import load_checkpoint, save_checkpoint
from edgepose.train.loop import Plan, train
from edgepose.train.optimiser import Ema
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


KILLS = int(os.environ.get("EDGEPOSE_KILLS", "3"))  # 10, and 50 in test_kill.py, by hand
PLAN = {"optimiser": OptimiserRecipe(lr=0.1, weight_decay=0.0, warmup=1, ema=0.5)}


def test_it_learns_logs_and_gives_the_average(tmp_path):
    model = train(fresh(), loss, line, Plan(steps=300, **PLAN), tmp_path)
    assert abs(float(model.weight) - 3) < 0.1
    assert abs(float(model.bias) + 1) < 0.1
    assert not model.training
    log = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [50, 100, 150, 200, 250, 300]
    assert log[-1]["loss"] < log[0]["loss"]


def test_events_are_those_of_the_log(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plan = Plan(steps=100, events=True, **PLAN)
    train(fresh(), loss, line, plan, tmp_path, evaluate=lambda model: {"val_pck0.2": 12.5})
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    log = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = [(e.step, e.value) for e in events.Scalars("loss")]
    assert told == [(r["step"], pytest.approx(r["loss"])) for r in log if "loss" in r]
    assert [(e.step, e.value) for e in events.Scalars("val_pck0.2")] == [(100, 12.5)]


def test_a_stopped_run_goes_on(tmp_path):
    whole = train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "whole")
    train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "parts", until=0.5)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.safetensors")["step"] == 20
    parts = train(fresh(), loss, line, Plan(steps=40, **PLAN), tmp_path / "parts")
    assert torch.equal(whole.weight, parts.weight)


def test_time_ends_a_run(tmp_path):
    train(fresh(), loss, line, Plan(steps=10**9, minutes=0.01, **PLAN), tmp_path)
    assert 0 < load_checkpoint(tmp_path / "checkpoint.safetensors")["step"] < 10**6


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
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors"):
        load_checkpoint(tmp_path / "checkpoint.safetensors")


def test_without_decay_the_average_is_the_network_and_is_written_once(tmp_path):
    model = nn.Sequential(nn.Linear(300, 300), nn.BatchNorm1d(300))
    ema = Ema(model, 0.0)
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model(torch.randn(4, 300))
    own, average = model.state_dict(), ema.model.state_dict()
    assert all(torch.equal(value, average[name]) for name, value in own.items())
    assert model.training
    assert not ema.model.training
    assert all(p.requires_grad for p in model.parameters())
    save_checkpoint(tmp_path / "c.safetensors", {"model": own, "ema": average})
    assert (tmp_path / "c.safetensors").stat().st_size < 1.5 * 4 * 300 * 300
    back = load_checkpoint(tmp_path / "c.safetensors")
    for part in ("model", "ema"):
        assert all(torch.equal(value, back[part][name]) for name, value in own.items())


def test_ema_follows_parameters_and_buffers():
    model = nn.BatchNorm1d(1)
    ema = Ema(model, 0.9)
    model.weight.data.fill_(2.0)
    model.running_mean.fill_(10.0)
    for step in range(1, 400):
        ema.update(model, step)
    assert float(ema.model.weight) == pytest.approx(2.0, abs=1e-3)
    assert float(ema.model.running_mean) == pytest.approx(10.0, abs=1e-3)


def test_a_killed_run_s_curve_is_that_of_an_unbroken_one(tmp_path):
    plan = {**PLAN, "save_every": 20}
    train(fresh(), loss, line, Plan(steps=200, **plan), tmp_path / "whole")

    def dies(step):
        """Killed at step 130: the log goes beyond the last checkpoint, and its end is torn."""
        for number, batch in enumerate(line(step), step):
            if number == 130:
                with (tmp_path / "parts" / "log.jsonl").open("a") as log:
                    log.write('{"step": 130, "lo')
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        train(fresh(), loss, dies, Plan(steps=200, **plan), tmp_path / "parts")
    train(fresh(), loss, line, Plan(steps=200, **plan), tmp_path / "parts")
    whole, parts = (
        [json.loads(t) for t in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    )
    assert [entry["step"] for entry in parts] == [50, 100, 150, 200]
    # The checkpoint lies at step 120: the line of step 150 is the mean of the 30 steps since.
    for a, b in zip(whole, parts, strict=True):
        if a["step"] != 150:
            assert a["loss"] == b["loss"]


def test_dropout_is_the_same_after_a_resume(tmp_path):
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    whole = train(net(), loss, line, Plan(steps=30, **PLAN), tmp_path / "whole")
    train(net(), loss, line, Plan(steps=30, **PLAN), tmp_path / "parts", until=0.5)
    parts = train(net(), loss, line, Plan(steps=30, **PLAN), tmp_path / "parts")
    assert torch.equal(whole[2].weight, parts[2].weight)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_no_memory_is_a_sentence_and_the_checkpoint_stays(tmp_path, error):
    def short(model, batch):
        if batch["x"].sum() > 0 and (tmp_path / "checkpoint.safetensors").exists():
            raise error
        return loss(model, batch)

    plan = Plan(steps=100, save_every=7, **PLAN)
    with pytest.raises(TrainingError, match="memory ran out at step 7; the checkpoint of step 7"):
        train(fresh(), short, line, plan, tmp_path)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")["step"] == 7


def test_a_full_disk_is_a_sentence_and_the_checkpoint_stays(tmp_path):
    """The limit on a file's size stands in for the disk: the system refuses to write on."""
    import resource

    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(TrainingError, match="make room"):
            save_checkpoint(path, {"weights": torch.zeros(10**5)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns(tmp_path, precision):
    plan = Plan(steps=60, precision=precision, **PLAN)

    def mixed(model, batch):
        with plan.autocast():
            y = model(batch["x"])
        assert y.dtype != torch.float32
        return {"loss": ((y.float() - batch["y"]) ** 2).mean()}

    model = train(fresh(), mixed, line, plan, tmp_path)
    assert abs(float(model.weight) - 3) < 1


@pytest.mark.filterwarnings("ignore:.*fork")
def test_kills(tmp_path):
    """kill -9 at any moment: each time it goes on, and ends as an unbroken run does."""
    plan = Plan(steps=400, save_every=5, **PLAN)

    def slow(model, batch):
        time.sleep(0.002)
        return loss(model, batch)

    path, rng = tmp_path / "parts" / "checkpoint.safetensors", random.Random(0)
    for _ in range(KILLS):
        before = path.stat().st_mtime_ns if path.exists() else 0
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                train(fresh(), slow, line, plan, tmp_path / "parts")
            os._exit(0)
        patience = time.monotonic() + 120
        while time.monotonic() < patience:
            if path.exists() and path.stat().st_mtime_ns > before:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert load_checkpoint(path)["step"] > 0
    assert load_checkpoint(path)["step"] >= 5 * KILLS
    parts = train(fresh(), loss, line, plan, tmp_path / "parts")
    whole = train(fresh(), loss, line, plan, tmp_path / "whole")
    assert torch.equal(whole.weight, parts.weight)
