"""Somebody who has the live page open."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

from websockets.sync.client import connect

_PAGE = re.compile(r"page: .*:(\d+)/")


class Viewer:
    """Reads ``/stream/0`` and ``/state`` as fast as they come; stands for a phone."""

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


def port_of(log: Path, seconds: float = 60) -> int:
    """The port of the page of a run that writes to ``log``."""
    deadline = time.monotonic() + seconds
    while not (found := _PAGE.search(log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return int(found[1])
