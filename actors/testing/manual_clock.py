"""The manual clock: time that goes on only when a test says so, and not before all work in flight has ended.

Idleness is the systems' own count of work; nothing here sleeps or polls. A call, or an actor in the middle of a
message, that makes no progress for `stall` real seconds counts as hung: time goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from actors.backends.base import Backend, current_task
from actors.backends.work import WorkCount
from actors.clock import TimerHandle, TimerHeap
from actors.errors import SpecError, WouldBlock
from actors.raw import Lock

__all__ = ["ManualClock"]

SPELLED = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MICRO = 1_000_000


class _System(Protocol):
    work: WorkCount
    backend: Backend

    @property
    def stopped(self) -> bool: ...


class ManualClock:
    """A clock for tests; hand it to one system or several.

    >>> from datetime import UTC, datetime
    >>> clock = ManualClock(datetime(2025, 1, 1, tzinfo=UTC))
    >>> handle = clock.call_after(3600, lambda: print(clock.now()))
    >>> clock.advance(7200)
    2025-01-01 01:00:00+00:00
    """

    def __init__(self, start: datetime | None = None, *, stall: float = 0.5) -> None:
        start = start if start is not None else datetime(2025, 1, 1, tzinfo=UTC)
        if start.tzinfo is None:
            raise SpecError(f"expected start to be an aware datetime, got: {start!r}")
        self._start = start.astimezone(UTC)
        self._stall = stall
        self._micros = 0
        self._timers = TimerHeap()
        self._systems: list[_System] = []
        self._advancing = Lock()

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return self._start + timedelta(microseconds=self._micros)

    def monotonic(self) -> float:
        """Return the seconds that this clock has been advanced by."""
        return self._micros / MICRO

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        """Call `fn` when the clock has been advanced by `delay` seconds; in the thread that advances."""
        due = self._micros + round(max(0.0, delay) * MICRO)
        return self._timers.push(due, fn)[0]

    def attach(self, system: _System) -> None:
        """Wait for this system's work too; a system does that itself when it is given this clock."""
        self._systems = [known for known in self._systems if not known.stopped] + [system]

    def set_wall(self, instant: datetime) -> None:
        """Set the wall clock, as an operator or a time server does; `monotonic` and timers notice nothing."""
        self._start = instant.astimezone(UTC) - timedelta(microseconds=self._micros)

    def advance(self, duration: float | timedelta | str) -> None:
        """Let `duration` pass: seconds, a timedelta, or a text such as "50ms" "30s" "10m" "2h" "1d".

        Every timer due fires, each at its own instant, in (due time, order of arming) order.

        Before each, and at the end, all work in flight ends. Raises WouldBlock in an actor, SpecError for a
        duration below 0.
        """
        if current_task() is not None:
            raise WouldBlock(
                "advance called in an actor: the clock would wait for that actor for ever; call it from the test"
            )
        seconds = _seconds(duration)
        with self._advancing:
            self.settle()
            until = self._micros + round(seconds * MICRO)
            living = [system for system in self._systems if not system.stopped]
            if living:
                living[0].backend.drive(lambda: self._fire_until(until))
            else:
                self._fire_until(until)
            self._micros = until

    def _fire_until(self, until: int) -> None:
        while (timer := self._timers.pop_due(until)) is not None:
            self._micros = max(self._micros, int(timer.due))
            timer.fire()
            self.settle()

    def settle(self) -> None:
        """Wait until no work is in flight in any system; what hangs for `stall` real seconds is left out."""
        while True:
            versions = [system.work.version for system in self._systems]
            for system in self._systems:
                if not system.work.idle:
                    self._wait_for(system)
            # All were idle one after the other; nothing that began since means that they were idle together.
            if versions == [system.work.version for system in self._systems] and all(
                system.work.idle for system in self._systems
            ):
                return

    def _wait_for(self, system: _System) -> None:
        before = system.backend.progress()
        while not system.stopped and not system.work.wait_idle(self._stall):
            system.work.hang(self._stall)
            progress = system.backend.progress()
            if progress == before:
                system.backend.forgive()
            before = progress


def _seconds(duration: float | timedelta | str) -> float:
    seconds: float | None = None
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, str):
        spelled = SPELLED.fullmatch(duration)
        seconds = float(spelled[1]) * UNITS[spelled[2]] if spelled else None
    else:
        seconds = duration
    if seconds is None or not seconds >= 0:
        raise SpecError(
            f'expected duration to be seconds from 0 up, a timedelta or a text such as "30s", got: {duration!r}'
        )
    return seconds
