"""Several gloo processes on one machine, started by torchrun as a user does."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from edgepose.train.checkpoints import load_checkpoint

PROGRAM = """
import sys
from pathlib import Path
import torch
from torch import nn
from edgepose.cli._common import reporting
from edgepose.train.distributed import joined
from edgepose.train.loop import Plan, train
from edgepose.train.recipe import OptimiserRecipe

OUT, NAME, STEPS, PAUSE = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
torch.set_num_threads(1)


def work():
    with joined() as processes:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
        own = processes.share(16)

        def batches(step):
            while True:
                x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
                first = processes.rank * own
                yield {"x": x[first : first + own]}
                step += 1

        def loss(model, batch):
            import time

            time.sleep(PAUSE)
            y = model(batch["x"])
            goal = batch["x"][:, :2] * 3
            return {"loss": (y - goal).square().sum() / len(y)}

        recipe = OptimiserRecipe(NAME, 0.01, 0.0, "constant", 1, 0.0, 0.9)
        plan = Plan(STEPS, optimiser=recipe, save_every=10, processes=processes)
        train(net, loss, batches, plan, OUT)


reporting("train", work)()
"""


def start(folder, count, *arguments):
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program)]
    if count > 1:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(count), str(program)),
        ]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def parameters(folder):
    state = load_checkpoint(folder / "checkpoint.safetensors")
    return [torch.cat([v.flatten() for v in state[key].values()]) for key in ("model", "ema")]


@pytest.mark.parametrize("name", ["adagrad", "adamw"])
def test_two_processes_train_as_one(tmp_path, name):
    ends = []
    for count in (1, 2):
        run = start(tmp_path, count, tmp_path / str(count), name, 50, 0)
        said = run.communicate(timeout=240)[0]
        assert run.returncode == 0, said
        ends.append(parameters(tmp_path / str(count)))
    for one, two in zip(*ends, strict=True):
        assert float((one - two).norm() / one.norm()) < 1e-5


def test_a_lost_process_ends_the_run_with_a_sentence_and_it_goes_on(tmp_path):
    out = tmp_path / "run"
    run = start(tmp_path, 2, out, "adamw", 10**6, 0.02)
    waiting = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < waiting:
        time.sleep(0.2)
    ranks = subprocess.run(
        ["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(ranks[-1]), signal.SIGKILL)
    said = run.communicate(timeout=120)[0]
    assert run.returncode != 0
    assert "another process of this run has ended" in said
    step = load_checkpoint(out / "checkpoint.safetensors")["step"]
    assert step >= 10
    again = start(tmp_path, 2, out, "adamw", step + 10, 0)
    said = again.communicate(timeout=240)[0]
    assert again.returncode == 0, said
    assert load_checkpoint(out / "checkpoint.safetensors")["step"] == step + 10
