"""What a training run tells: log.jsonl, a progress bar, TensorBoard events, the learning curve."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgepose.errors import OutputError

LOG_EVERY = 50  # steps


class Journal:
    """Keeps the log of one part in ``folder``; a silent one (``folder`` None) keeps none.

    Lines of steps after ``step`` are taken out first: an interrupted run goes over them again.
    ``events`` also writes TensorBoard's (extra ``tensorboard``); the curve needs the extra
    ``plots``.
    """

    def __init__(self, folder: Path | None, title: str, step: int, events: bool = False) -> None:
        self._stack = contextlib.ExitStack()
        self._folder, self._title = folder, title
        self._events: Any = None
        self._sums: dict[str, float] = {}
        self._count = 0
        if folder is None:
            return
        path = folder / "log.jsonl"
        try:
            kept = [line for line in _lines(path) if line.get("step", 0) <= step]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))
            self._log = self._stack.enter_context(path.open("a"))
        except OSError as error:
            raise OutputError(f"cannot write {path} ({error.strerror}); mend that") from error
        if events:
            self._events = _event_writer(folder, step)
            self._stack.callback(self._events.close)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}"),
        )
        self._bar = self._stack.enter_context(Progress(*columns))
        self._task = self._bar.add_task(title, total=1000, completed=0, info="")

    def step(self, step: int, fraction: float, minutes: float, terms: Mapping[str, float]) -> None:
        """Note one optimiser step; every 50 steps their mean is logged."""
        if self._folder is None:
            return
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        info = f"step {step} loss {terms['loss']:.4f}"
        self._bar.update(self._task, completed=1000 * fraction, info=info)
        if step % LOG_EVERY == 0:
            means = {name: round(value / self._count, 6) for name, value in self._sums.items()}
            self._sums, self._count = {}, 0
            self._write({"step": step, "minutes": round(minutes, 2), **means})

    def evaluation(self, step: int, minutes: float, figures: Mapping[str, float]) -> None:
        """Note figures on held-out data, and draw the learning curve."""
        if self._folder is None:
            return
        self._write({"step": step, "minutes": round(minutes, 2), **figures})
        with contextlib.suppress(ImportError):
            draw_curve(self._folder / "log.jsonl", self._folder / "curve.png", self._title)

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()
        except OSError as error:
            raise OutputError(
                f"cannot write {self._log.name} ({error.strerror}); make room and start the same "
                "command again"
            ) from error
        if self._events is not None:
            for name, value in line.items():
                if name not in ("step", "minutes"):
                    self._events.add_scalar(name, value, line["step"])

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; one that a kill cut short is left out."""
    found: list[dict[str, Any]] = []
    if path.exists():
        for text in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(text))
    return found


def _event_writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer; OutputError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise OutputError(
            'TensorBoard is not installed; install it with: pip install "edgepose[tensorboard]"'
        ) from None
    return SummaryWriter(str(folder / "events"), purge_step=step + 1)


def draw_curve(log: Path, path: Path, title: str) -> None:
    """Draw the loss, and the held-out figures, over the steps of a log.jsonl, as PNG.

    ImportError where matplotlib is missing.
    """
    from matplotlib.figure import Figure

    lines = _lines(log)
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    figures = [line for line in lines if "loss" not in line]
    names = [n for n in (figures[-1] if figures else {}) if "pck0.2" in n or "recall" in n]
    drawn = Figure(figsize=(9, 3.6))  # a layout that fits itself takes twice as long
    left, right = drawn.subplots(1, 2)
    drawn.subplots_adjust(left=0.1, right=0.98, bottom=0.15, top=0.9, wspace=0.15)
    left.plot(*zip(*losses, strict=True) if losses else ([], []), color="#1f6fb2")
    left.set(title=f"{title}: training loss", xlabel="step", yscale="log" if losses else "linear")
    for name in names:
        points = [(line["step"], line[name]) for line in figures if name in line]
        right.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    right.set(title="held out", xlabel="step")
    if names:
        right.legend(fontsize="small", frameon=False)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    drawn.savefig(path, dpi=110)
