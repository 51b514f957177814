"""The bounded hand-over between two threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class EndOfStreamError(Exception):
    """The writer has finished without an error and everything it wrote has been read."""


class Channel(Generic[T]):
    """A bounded queue of one writer and one reader that can end, fail and be cancelled.

    ``queue.Queue`` cannot be closed before Python 3.13.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a channel holds at least one item")
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._finished = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Hand over ``item``, waiting for room; False when the reader has gone."""
        with self._changed:
            while len(self._items) >= self.capacity and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def get(self, timeout: float | None = None) -> T:
        """The next item, waiting for it.

        Raises :class:`EndOfStreamError` at the end, the writer's error once everything before it
        has been read, and ``TimeoutError`` after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._error is not None:
                    raise self._error
                if self._finished or self._cancelled:
                    raise EndOfStreamError
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            item = self._items.popleft()
            self._changed.notify()
            return item

    def finish(self, error: BaseException | None = None) -> None:
        """The writer's last word: no item follows. The first call counts."""
        with self._changed:
            if not self._finished:
                self._finished = True
                self._error = error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The reader's last word: forget what waits and let the writer go."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()
