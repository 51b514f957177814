"""The states of a source in a run, and when a lost one is tried again."""

from __future__ import annotations

import enum
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


class State(enum.Enum):
    """Where a source stands."""

    OPENING = "opening"
    RUNNING = "running"
    STALLED = "stalled"
    """Open, but no frame has come for a while."""
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    """Read to its end, or nobody wants more of it."""
    FAILED = "failed"


_NEXT = {
    State.OPENING: {State.RUNNING, State.RECONNECTING, State.ENDED, State.FAILED},
    State.RUNNING: {State.STALLED, State.RECONNECTING, State.ENDED, State.FAILED},
    State.STALLED: {State.RUNNING, State.RECONNECTING, State.ENDED, State.FAILED},
    State.RECONNECTING: {State.OPENING, State.ENDED, State.FAILED},
    State.ENDED: set(),
    State.FAILED: set(),
}


@dataclass(frozen=True)
class Patience:
    """How long is waited for a live source; seconds."""

    stalled: float = 1.0
    """Without a frame for so long it counts as stalled."""
    first: float = 0.25
    """Before the first new try; the next waits twice as long, and so on."""
    longest: float = 30.0
    jitter: float = 0.2
    """Waits vary by this share, so that many cameras do not come back in one moment."""
    give_up: float | None = None
    """Without a frame for so long it has failed; None: it is tried for ever."""


class Lifecycle:
    """One source's state machine. Any thread may ask; the one that reads the source tells."""

    def __init__(
        self,
        name: str,
        live: bool,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.live, self.patience = name, live, patience or Patience()
        self.reconnects = 0
        """How often the source was opened again and gave a frame."""
        self.stalls = 0
        self.error: str | None = None
        """What went wrong last."""
        self._clock, self._lock = clock, threading.Lock()
        self._state, self._tries, self._opened = State.OPENING, 0, False
        self._seen = clock()

    @property
    def state(self) -> State:
        """Where the source stands now."""
        with self._lock:
            quiet = self._clock() - self._seen
            if self.live and self._state is State.RUNNING and quiet > self.patience.stalled:
                self.stalls += 1
                self._to(State.STALLED, f"no frame for {quiet:.1f} s")
            return self._state

    @property
    def over(self) -> bool:
        """Whether the source has ended or failed."""
        return self._state in (State.ENDED, State.FAILED)

    def frame(self) -> None:
        """A frame has come."""
        with self._lock:
            self._seen = self._clock()
            if self._state in (State.OPENING, State.STALLED):
                if self._state is State.OPENING and self._opened:
                    self.reconnects += 1
                self._opened, self._tries = True, 0
                self._to(State.RUNNING)

    def lost(self, reason: str) -> float | None:
        """The source broke off or cannot be opened: seconds until the next try.

        None once it has been given up.
        """
        with self._lock:
            self.error, patience = reason, self.patience
            quiet = self._clock() - self._seen
            if patience.give_up is not None and quiet >= patience.give_up:
                self._to(State.FAILED, f"{reason} Given up after {quiet:.0f} s.")
                return None
            wait = min(patience.longest, patience.first * 2.0 ** min(self._tries, 30))
            wait *= 1 + random.uniform(-1, 1) * patience.jitter
            self._tries += 1
            self._to(State.RECONNECTING, f"{reason} Next try in {wait:.1f} s.")
            return wait

    def opening(self) -> None:
        """The source is being opened again."""
        with self._lock:
            self._to(State.OPENING)

    def ended(self) -> None:
        """The source has been read to its end."""
        with self._lock:
            self._to(State.ENDED)

    def failed(self, reason: str) -> None:
        """Nothing more will come."""
        with self._lock:
            self.error = reason
            self._to(State.FAILED, reason)

    def _to(self, state: State, why: str = "") -> None:
        before = self._state
        if before in (State.ENDED, State.FAILED):
            return
        if state not in _NEXT[before]:
            raise RuntimeError(f"a source does not go from {before.value} to {state.value}")
        self._state = state
        bad = state in (State.STALLED, State.RECONNECTING, State.FAILED)
        text = f"source {self.name}: {before.value} → {state.value}"
        _log.log(
            logging.WARNING if bad and self.live else logging.INFO,
            "%s",
            f"{text} ({why})" if why else text,
            extra={"source": self.name, "state": state.value},
        )
