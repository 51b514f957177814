"""Telling systemd how a run fares: sd_notify(3), with its watchdog."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator


def notify(*lines: str) -> bool:
    """Send ``lines`` such as ``READY=1``; False where nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        try:
            door.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def watched(busy: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Ready now, stopping at the end; call what it gives with every result.

    The watchdog is fed while results come, and also while ``busy`` says that none can be expected:
    a lost camera is no reason to start the program anew, a hanging one is.
    """
    notify("READY=1")
    period = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 3e6
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        period = 0.0
    last, over = time.monotonic(), threading.Event()

    def feed() -> None:
        while not over.wait(period):
            if time.monotonic() - last < 2 * period or not busy():
                notify("WATCHDOG=1")

    def alive() -> None:
        nonlocal last
        last = time.monotonic()

    thread = threading.Thread(target=feed, name="edgepose-watchdog", daemon=True)
    if period > 0 and "NOTIFY_SOCKET" in os.environ:
        thread.start()
    try:
        yield alive
    finally:
        over.set()
        notify("STOPPING=1")
