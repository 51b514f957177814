"""How weights move: the recipe's optimiser and its rate, and the average that ships."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from edgepose.train.recipe import OptimiserRecipe


class Ema:
    """Exponential moving average of a module's parameters and buffers; the copy that ships.

    With ``decay`` 0 it is the module itself: the copy shares its memory.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        shared: dict[int, Tensor] = {}
        if not decay:
            shared = {id(p): nn.Parameter(p.detach(), False) for p in model.parameters()}
            shared |= {id(b): b for b in model.buffers()}
        self.model = copy.deepcopy(model, shared).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model``; the first steps follow it closely."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        source = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(source[name].to(value.dtype), 1 - decay)
            else:
                value.copy_(source[name])


def make_optimiser(model: nn.Module, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; vectors (biases, normalisation) do not decay.

    Parameters whose names begin with the model's ``slow`` learn at the recipe's share of the rate.

    AdaGrad (Duchi et al. 2011) is the paper's, section 3.3.
    """
    slow: tuple[str, ...] = getattr(model, "slow", ())
    kinds: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            pace = recipe.slow if name.startswith(slow) else 1.0
            decay = recipe.weight_decay if p.ndim > 1 else 0.0
            kinds.setdefault((pace, decay), []).append(p)
    groups = [
        {"params": part, "pace": pace, "weight_decay": decay}
        for (pace, decay), part in kinds.items()
    ]
    if recipe.name == "adagrad":
        # Fused, a tenth of the time of a CPU's step is saved; on CUDA torch cannot fuse it.
        on_cpu = all(p.device.type == "cpu" for part in kinds.values() for p in part)
        return torch.optim.Adagrad(groups, lr=recipe.lr, fused=on_cpu)
    if recipe.name == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def learning_rate(recipe: OptimiserRecipe, step: int, fraction: float) -> float:
    """Rate at ``step``, when ``fraction`` of the schedule is done."""
    rate = recipe.lr * min(1.0, (step + 1) / max(recipe.warmup, 1))
    if recipe.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * fraction))
    return rate
