"""PyTorch's ways to the same crops, timed beside the kernel; the memory is torch's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class TorchPeers:
    """``grid_sample`` and ``interpolate`` from a frame (H, W, 3) uint8 on."""

    def __init__(self, image: np.ndarray, device: str = "cuda:0") -> None:
        import torch

        self.torch, self.device = torch, torch.device(device)
        self._image = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)

    def download(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()

    def seconds(self, work: Callable[[], Any], repeats: int) -> float:
        """Median device time of one call of ``work``, by events around replays of a graph."""
        torch = self.torch
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):  # libraries set themselves up before a capture
            for _ in range(3):
                work()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            for _ in range(repeats):
                work()
        times = []
        for _ in range(12):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1e3 / repeats)
        return float(np.median(times[2:]))

    def ways(self, boxes: np.ndarray, size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Each way's name, and what makes crops of ``boxes`` (n, 4)."""
        torch, functional = self.torch, self.torch.nn.functional
        n, image = len(boxes), self._image
        height, width = image.shape[:2]
        theta = np.zeros((n, 2, 3), np.float32)
        theta[:, 0, 0] = (boxes[:, 2] - boxes[:, 0]) / width
        theta[:, 1, 1] = (boxes[:, 3] - boxes[:, 1]) / height
        theta[:, 0, 2] = (boxes[:, 2] + boxes[:, 0]) / width - 1
        theta[:, 1, 2] = (boxes[:, 3] + boxes[:, 1]) / height - 1
        device_theta = torch.from_numpy(theta).to(self.device)

        def planes() -> Any:
            return image.flip(2).permute(2, 0, 1).float()[None]

        def grid_sample() -> Any:
            grid = functional.affine_grid(device_theta, [n, 3, size, size], align_corners=False)
            return functional.grid_sample(
                planes().expand(n, -1, -1, -1), grid, padding_mode="border", align_corners=False
            )

        def interpolate() -> Any:
            whole = planes()
            crops = [
                functional.interpolate(
                    whole[:, :, y0:y1, x0:x1], (size, size), mode="bilinear", antialias=True
                )
                for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist()
            ]
            return torch.cat(crops)

        yield "torch grid_sample", grid_sample
        if n <= 140:  # a loop over boxes, by its nature
            yield "torch interpolate", interpolate
