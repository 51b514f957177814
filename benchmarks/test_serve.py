"""What a page that is open costs the run: results a second with and without somebody who looks.

The viewer stands for a phone: it reads the pictures and the numbers over sockets and shows nothing.
It comes and goes every ten seconds, so that what else the machine does falls on both alike.
``EDGEPOSE_SERVE_SECONDS=600`` for ten minutes; ``EDGEPOSE_PICTURE=docs/serve.png`` also takes the
page's picture in Chromium, and beside it one as on a phone, ``docs/serve-phone.png``.
"""

from __future__ import annotations

import os
import re
import statistics
import time
import urllib.request
from pathlib import Path

import pytest

from benchmarks.process import retimed, start
from benchmarks.viewer import Viewer, port_of
from tests.browser import Browser

SECONDS = float(os.environ.get("EDGEPOSE_SERVE_SECONDS", "20"))
BLOCK = min(10.0, SECONDS / 10)
ROUNDS = round(SECONDS / (2 * BLOCK))


def results(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return float(re.search(r"^edgepose_results_total{.*} (\S+)$", text, re.MULTILINE)[1])


def rate(port: int, seconds: float) -> float:
    begun, before = time.perf_counter(), results(port)
    time.sleep(seconds)
    return (results(port) - before) / (time.perf_counter() - begun)


def watched_rate(port: int) -> float:
    with Viewer(port) as viewer:
        seen = rate(port, BLOCK)
    assert viewer.bytes > 0
    return seen


def test_an_open_page_does_not_slow_the_run(benchmark, tmp_path):
    log = tmp_path / "log"
    process = start(["--source", "sample", "--loop", "--serve", 0], log)
    without: list[float] = []
    watched: list[float] = []
    try:
        port = port_of(log)
        rate(port, 5)

        def measure() -> None:
            first = len(without) % 2
            for looks in (first, not first):
                if looks:
                    watched.append(watched_rate(port))
                else:
                    without.append(rate(port, BLOCK))

        benchmark.pedantic(measure, rounds=ROUNDS)
    finally:
        process.kill()
        process.wait()
    ratio = statistics.median(w / o for w, o in zip(watched, without, strict=True))
    benchmark.extra_info.update(
        {
            "minutes": SECONDS / 60,
            "results a second": round(statistics.median(without), 2),
            "results a second, watched": round(statistics.median(watched), 2),
            "ratio": round(ratio, 3),
        }
    )
    assert ratio > 0.95


def test_the_pages_picture(tmp_path):
    """Two cameras, a minute after the start, on a desk and on a phone."""
    picture = os.environ.get("EDGEPOSE_PICTURE")
    if picture is None:
        pytest.skip("set EDGEPOSE_PICTURE to the file that is to be written")
    clip, log = retimed(tmp_path / "door.mp4", (540, 960), 6.0), tmp_path / "log"
    sources = ["--source", clip, "--source", "test:2", "--fps", 6, "--loop", "--live"]
    process = start([*sources, "--serve", 0], log)
    try:
        page = f"http://127.0.0.1:{port_of(log)}/"
        time.sleep(44)  # neither picture falls where the clip begins again
        phone = Path(picture).with_stem(Path(picture).stem + "-phone")
        for path, size, small in ((picture, (1280, 720), False), (phone, (390, 844), True)):
            with Browser(*size, phone=small) as browser:
                browser.open(page)
                browser.wait("[...document.images].every(i => i.naturalWidth > 0)")
                time.sleep(12)
                browser.screenshot(str(path))
    finally:
        process.kill()
        process.wait()
