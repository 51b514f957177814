"""In-order queues whose work runs as late as allowed, as soon as possible, or at random.

An operation runs as late as the order that was asked for allows, so an order between streams that
was forgotten gives other results.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Order = Literal["late", "soon", "random"]


@dataclass(frozen=True)
class Moment:
    """A place in a queue's work: reached when so many of its operations are done."""

    queue: Queue
    count: int

    @property
    def reached(self) -> bool:
        """Whether they are."""
        return self.queue.done >= self.count


@dataclass(frozen=True)
class Operation:
    """Work, or what has to be reached before the queue goes on."""

    work: Callable[[], None] | None = None
    after: Moment | None = None


class Queue:
    """Operations in order; ``done`` of them were run."""

    def __init__(self) -> None:
        self.done = 0
        self.waiting: deque[Operation] = deque()

    @property
    def given(self) -> int:
        """How many operations it was given."""
        return self.done + len(self.waiting)


class Queues:
    """All queues of a device, and when their work runs; ``lock`` is held by whoever calls."""

    def __init__(self, order: Order, seed: int) -> None:
        self.lock = threading.RLock()
        self._order, self._random = order, random.Random(seed)
        self._queues: list[Queue] = []

    def add(self, queue: Queue) -> None:
        """One queue more."""
        self._queues.append(queue)

    def give(self, queue: Queue, operation: Operation) -> None:
        """Queue an operation, and run what the order says."""
        queue.waiting.append(operation)
        if self._order == "soon":
            self._run_ready(lambda: True)
        elif self._order == "random":
            self._run_ready(lambda: self._random.random() < 0.5)

    def reach(self, moment: Moment) -> None:
        """Run what has to be done for a moment, and no more."""
        while not moment.reached:
            after = moment.queue.waiting[0].after
            if after is not None:
                self.reach(after)
            self._step(moment.queue)

    def _run_ready(self, more: Callable[[], bool]) -> None:
        ready = [queue for queue in self._queues if queue.waiting]
        self._random.shuffle(ready)
        for queue in ready:
            while queue.waiting and more():
                after = queue.waiting[0].after
                if after is not None and not after.reached:
                    break
                self._step(queue)

    def _step(self, queue: Queue) -> None:
        operation = queue.waiting.popleft()
        queue.done += 1
        if operation.work is not None:
            operation.work()
