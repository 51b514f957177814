"""What a page that is open costs the run: results a second with and without somebody who looks.

The viewer stands for a phone: it reads the pictures and the numbers over sockets and shows nothing.
``EDGEPOSE_SERVE_SECONDS=600`` for ten minutes; ``EDGEPOSE_PICTURE=docs/serve.png`` also takes the
page's picture in Chromium.
"""

from __future__ import annotations

import os
import re
import statistics
import time
import urllib.request

from benchmarks.viewer import Viewer
from tests.browser import Browser
from tests.conftest import program

SECONDS = float(os.environ.get("EDGEPOSE_SERVE_SECONDS", "20"))
ROUNDS = 5


def results(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return float(re.search(r"^edgepose_results_total{.*} (\S+)$", text, re.MULTILINE)[1])


def rate(port: int, seconds: float) -> float:
    begun, before = time.perf_counter(), results(port)
    time.sleep(seconds)
    return (results(port) - before) / (time.perf_counter() - begun)


def test_an_open_page_does_not_slow_the_run(benchmark):
    with program("--source", "sample", "--loop", "--serve", "0") as process:
        port = next(
            int(m[1]) for line in process.stdout if (m := re.search(r"page: .*:(\d+)/", line))
        )
        try:
            rate(port, 5)
            without, watched = [], []

            def measure() -> None:
                without.append(rate(port, SECONDS / ROUNDS))
                with Viewer(port) as viewer:
                    watched.append(rate(port, SECONDS / ROUNDS))
                assert viewer.bytes > 0

            benchmark.pedantic(measure, rounds=ROUNDS)
            picture = os.environ.get("EDGEPOSE_PICTURE")
            if picture:
                with Browser(1280, 820) as browser:
                    browser.open(f"http://127.0.0.1:{port}/")
                    browser.wait("document.images.length && document.images[0].naturalWidth > 0")
                    time.sleep(45)
                    browser.screenshot(picture)
        finally:
            process.kill()
    benchmark.extra_info["fps"] = statistics.median(without)
    benchmark.extra_info["fps watched"] = statistics.median(watched)
    ratio = statistics.median(w / o for w, o in zip(watched, without, strict=True))
    benchmark.extra_info["ratio"] = ratio
    assert ratio > 0.95
