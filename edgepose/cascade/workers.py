"""A worker thread per step, side by side, with a bounded hand-over between them."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
Inbox = queue.Queue[T | None]


class Workers(Generic[T]):
    """Takes every item through ``steps`` in order; each step works on its own item meanwhile.

    A step does not raise: what goes wrong it notes in the item. The threads start with the first
    item and end with :meth:`close`, or when nobody holds the workers any more.
    """

    def __init__(
        self, name: str, steps: Sequence[Callable[[T], None]], waiting: int = 1, lanes: int = 1
    ) -> None:
        """``waiting``: items that may wait before each step; ``lanes``: threads of each step.

        With several lanes an item may overtake another.
        """
        self._name, self._steps, self._lanes = name, tuple(steps), lanes
        self._inboxes: list[Inbox[T]] = [queue.Queue(waiting) for _ in self._steps]
        self._started = threading.Lock()
        self._threads: list[threading.Thread] = []
        # The threads hold the inboxes, never this object: else it would not be forgotten.
        self._end = weakref.finalize(self, self._inboxes[0].put, None)
        self._end.atexit = False  # daemons end with the process anyhow

    def put(self, item: T) -> None:
        """Send ``item`` on its way; waits while the first step has enough to do.

        Raises RuntimeError once the workers are closed.
        """
        if not self._end.alive:
            raise RuntimeError("the workers have been closed")
        if not self._threads:
            self._start()
        self._inboxes[0].put(item)

    def close(self) -> None:
        """Let what is on its way arrive and end the threads; may be called again."""
        if self._end.alive:
            self._end()
            for thread in self._threads:
                thread.join()

    def _start(self) -> None:
        with self._started:
            if self._threads:
                return
            following = [*self._inboxes[1:], None]
            for number, work in enumerate(zip(self._steps, self._inboxes, following, strict=True)):
                name = f"edgepose-{self._name}-{number + 1}"
                lanes = [None] * self._lanes
                for _ in range(self._lanes):
                    thread = threading.Thread(
                        target=_work, args=(*work, lanes), name=name, daemon=True
                    )
                    thread.start()
                    self._threads.append(thread)


def _work(
    step: Callable[[T], None], inbox: Inbox[T], following: Inbox[T] | None, lanes: list[None]
) -> None:
    """``lanes``: one entry for each thread of the step that goes on."""
    while (item := inbox.get()) is not None:
        step(item)
        if following is not None:
            following.put(item)
        # A frame is megabytes: it must not live on while the next one is waited for.
        del item
    # The word to end goes from lane to lane; the last one tells the next step.
    lanes.pop()
    if lanes:
        inbox.put(None)
    elif following is not None:
        following.put(None)
