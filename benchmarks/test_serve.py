"""What a page that is open costs the run: results a second with and without somebody who looks.

The viewer stands for a phone: it reads the pictures and the numbers over sockets and shows nothing.
``EDGEPOSE_SERVE_SECONDS=600`` for ten minutes; ``EDGEPOSE_PICTURE=docs/serve.png`` also takes the
page's picture in Chromium.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import statistics
import threading
import time
import urllib.request

from websockets.sync.client import connect

from tests.browser import Browser
from tests.conftest import program

SECONDS = float(os.environ.get("EDGEPOSE_SERVE_SECONDS", "20"))
ROUNDS = 5


class Viewer:
    """Reads ``/stream/0`` and ``/state`` as fast as they come."""

    def __init__(self, port: int) -> None:
        self.bytes = 0
        self._stream = socket.create_connection(("127.0.0.1", port))
        request = f"GET /stream/0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        self._stream.sendall(request.encode())
        self._address = f"ws://127.0.0.1:{port}/state"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=t) for t in (self._pictures, self._numbers)]

    def _pictures(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._stream.recv(1 << 16):
                self.bytes += len(data)

    def _numbers(self) -> None:
        with connect(self._address) as numbers:
            while not self._over.is_set():
                numbers.recv()

    def __enter__(self) -> Viewer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        for thread in self._threads:
            thread.join()


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
