"""The count of work in flight: what a manual clock waits for before it lets time go on.

A backend holds one unit while its actors have messages; everything outside (calls in executors, transactions,
deliveries) holds a `Token` from `begin` to `end`. Whoever ends a unit has handed on its outcome before, so the
count never touches zero in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.backends.futures import Future
from actors.raw import Guard

__all__ = ["Token", "WorkCount"]


class Token:
    """One piece of work; ended exactly once, however often `end` is called."""

    __slots__ = ("_count", "_open", "since", "what")

    def __init__(self, count: WorkCount, what: str) -> None:
        self._count = count
        self._open = True
        self.what = what
        self.since = time.monotonic()

    def end(self) -> None:
        """Take this work out of the count; harmless the second time, from any thread."""
        self._count._end(self)

    def hung(self) -> None:
        """Leave this work out of the count from now on: nobody waits for it any more."""
        self._count._end(self)


class WorkCount:
    """How much is queued, in hand or out in executors; `version` grows with each change from nothing to something."""

    def __init__(self) -> None:
        self._lock = Guard()
        self._units = 0
        self._tokens: dict[Token, None] = {}
        self._waiters: list[Callable[[], None]] = []
        self.version = 0

    def begin(self, what: str) -> Token:
        """Count one more piece of work until its token's `end`; from any thread. `what` names it in reports."""
        token = Token(self, what)
        with self._lock:
            self._tokens[token] = None
            self._up()
        return token

    def up(self) -> None:
        """Count one unit, without a token; from any thread."""
        with self._lock:
            self._up()

    def down(self) -> None:
        """Take out one unit that `up` counted."""
        with self._lock:
            idle = self._down()
        _wake(idle)

    def hang(self, stall: float) -> None:
        """Leave out every token that is older than `stall` real seconds."""
        limit = time.monotonic() - stall
        with self._lock:
            late = [token for token in self._tokens if token.since <= limit]
        for token in late:
            token.hung()

    @property
    def idle(self) -> bool:
        """Tell whether nothing is in flight now."""
        return self._units == 0

    @property
    def units(self) -> int:
        """Return how many units are in flight now."""
        return self._units

    def pending(self) -> list[str]:
        """Return what the tokens in flight are called."""
        with self._lock:
            return [token.what for token in self._tokens]

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is in flight, up to `timeout` real seconds; returns whether that came."""
        idle: Future[None] = Future()

        def wake() -> None:
            idle.offer(None)

        if not self.on_idle(wake) or idle.settled(timeout):
            return True
        self.forget(wake)
        return False

    def on_idle(self, wake: Callable[[], None]) -> bool:
        """Call `wake` once when the count is next zero; returns False, and calls nothing, when it is zero already."""
        with self._lock:
            if self._units == 0:
                return False
            self._waiters.append(wake)
            return True

    def forget(self, wake: Callable[[], None]) -> None:
        """Take back what `on_idle` was given."""
        with self._lock:
            if wake in self._waiters:
                self._waiters.remove(wake)

    def _up(self) -> None:
        if self._units == 0:
            self.version += 1
        self._units += 1

    def _down(self) -> list[Callable[[], None]]:
        self._units -= 1
        if self._units:
            return []
        waiters, self._waiters = self._waiters, []
        return waiters

    def _end(self, token: Token) -> None:
        with self._lock:
            if not token._open:
                return
            token._open = False
            del self._tokens[token]
            idle = self._down()
        _wake(idle)


def _wake(waiters: list[Callable[[], None]]) -> None:
    for wake in waiters:
        wake()
