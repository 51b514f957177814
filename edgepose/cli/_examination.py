"""``edgepose-doctor`` looks at everything, in order, and prints what it found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from edgepose.cli import _gpu_findings, _host_findings
from edgepose.cli._finding import BROKEN, OK, OPTIONAL, Finding, package
from edgepose.cuda.driver import driver
from edgepose.engine.flavour import FLAVOURS, installed
from edgepose.errors import EngineError

_SIGN = {OK: "[green]✓[/]", OPTIONAL: "[yellow]–[/]", BROKEN: "[red]✗[/]"}


def run(folder: Path | None, *, as_json: bool) -> None:
    """Look at everything and print it. Raises EngineError if edgepose cannot run here."""
    findings = examine(folder)
    if as_json:
        print(json.dumps([asdict(f) for f in findings], ensure_ascii=False))  # noqa: T201
    else:
        _print(findings)
    broken = [f for f in findings if f.state == BROKEN]
    if broken:
        names = ", ".join(f.what for f in broken)
        raise EngineError(f"edgepose cannot run here as it is: see {names} above for the next step")


def examine(folder: Path | None) -> list[Finding]:
    """Every finding, in the order of printing."""
    found = driver()
    flavours = {name: _gpu_findings.flavour(name) for name in installed()}
    looks: list[Callable[[], Finding]] = [
        _host_findings.system,
        lambda: _gpu_findings.gpu(found),
        lambda: _gpu_findings.driver(found),
        lambda: _gpu_findings.toolkit(found),
        lambda: _gpu_findings.kernels(found),
        *(lambda name=name: _gpu_findings.tensorrt(name, flavours.get(name)) for name in FLAVOURS),
        lambda: _gpu_findings.pycuda(found),
        lambda: package("onnx", "building engines needs it: pip install onnx"),
        lambda: package("onnxruntime", "pip install onnxruntime", needed=True),
        lambda: package("openvino", "often faster on Intel: pip install openvino"),
        _host_findings.opencv,
        _host_findings.gstreamer,
        _host_findings.cameras,
        _host_findings.cpu,
        lambda: _host_findings.bundle(folder),
        lambda: _gpu_findings.engines(folder, found, flavours),
    ]
    return [look() for look in looks]


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    width = max(len(f.what) for f in findings)
    for f in findings:
        line = f"{_SIGN[f.state]} {f.what:{width}}  {escape(f.found)}"
        console.print(line, soft_wrap=True)
        if f.next:
            console.print(f"  {'':{width}}  [dim]→ {escape(f.next)}[/]", soft_wrap=True)
