"""From the sink's thread to any number of viewers on the server's loop; the slow ones miss out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Broadcast:
    """Hands items to all who listen; each waits for itself and misses the oldest when behind."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Queue[bytes]] = set()

    @property
    def heard(self) -> bool:
        """Whether anybody listens; any thread may ask."""
        return bool(self._listeners)

    def send(self, item: bytes) -> None:
        """Give ``item`` to everybody; from any thread."""
        if self._loop is not None and self._listeners:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._deliver, item)

    def _deliver(self, item: bytes) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(item)

    async def listen(self) -> AsyncIterator[bytes]:
        """Every item from now on."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes] = asyncio.Queue(self._depth)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
