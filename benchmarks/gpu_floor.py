"""What a frame takes at least on a GPU, to hold the times of ``gpu_cascade`` against."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gpu_cascade import PERSONS
from gpu_device import DRY

from edgepose.bundle import Bundle


def ceilings(dtype: Any) -> tuple[float, float]:
    """Operations and bytes a second: of a large matrix product and a large copy, by torch."""
    import torch

    device = torch.device("cpu" if DRY else "cuda")
    side, size = (256, 1 << 20) if DRY else (8192, 1 << 28)
    a = torch.randn(side, side, device=device).to(dtype)
    big = torch.empty(size, device=device, dtype=torch.uint8)
    out = torch.empty_like(big)
    wait = (lambda: None) if DRY else torch.cuda.synchronize

    def timed(work: Callable[[], Any]) -> float:
        work()
        wait()
        start = time.perf_counter()
        for _ in range(5):
            work()
        wait()
        return (time.perf_counter() - start) / 5

    return 2 * side**3 / timed(lambda: a @ a), 2 * size / timed(lambda: out.copy_(big))


def floor(counts: tuple[int, ...] = PERSONS) -> dict[str, Any]:
    """What a frame takes at least: operations and bytes of the networks over measured ceilings.

    Weights are read once, crops are written and read once. Compare with ``parts`` and ``graph`` of
    the timings.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from edgepose.backends.torch_graph import TorchGraph

    bundle, rows = Bundle(), []
    for dtype, name in ((torch.float32, "float32"), (torch.float16, "float16")):
        rate, bandwidth = ceilings(dtype)
        for n in counts:
            operations = moved = 0.0
            for number in range(1, len(bundle.manifest.stages) + 1):
                spec = bundle.network(f"stage{number}")
                shape = (n * spec.rows, *spec.shape)
                graph = TorchGraph(spec.path.read_bytes(), torch.device("cpu"))
                with torch.inference_mode():
                    call = graph.call(shape)
                    with FlopCounterMode(display=False) as counter:
                        call(torch.zeros(shape))
                operations += counter.get_total_flops()
                size = torch.empty(0, dtype=dtype).element_size()
                moved += spec.path.stat().st_size / 2 * size + 2 * size * float(np.prod(shape))
            seconds = max(operations / rate, moved / bandwidth)
            rows.append({"precision": name, "persons": n, "operations": operations,
                         "bytes": moved, "floor": seconds})  # fmt: skip
    return {"rows": rows, "passed": True}
