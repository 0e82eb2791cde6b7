"""The time of a simulated world, and the clock that one life of its process reads it by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from actors.clock import TimerHandle, TimerHeap

__all__ = ["LifeClock", "WorldTime"]

MICRO = 1_000_000


class WorldTime:
    """Microseconds since the beginning, and the wall clock, which may be set; a simulated world has one."""

    def __init__(self, start: datetime) -> None:
        self._start = start.astimezone(UTC)
        self.micros = 0
        self.agenda = TimerHeap()
        """What happens to the world at its time, whichever process lives then."""

    def now(self) -> datetime:
        """What the wall clock shows."""
        return self._start + timedelta(microseconds=self.micros)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.micros / MICRO

    def at(self, seconds: float, fn: Callable[[], object]) -> TimerHandle:
        """Let `fn` be called so many seconds after the beginning."""
        return self.agenda.push(round(seconds * MICRO), fn)[0]

    def after(self, seconds: float, fn: Callable[[], object]) -> TimerHandle:
        """Let `fn` be called so many seconds from now."""
        return self.agenda.push(self.micros + round(seconds * MICRO), fn)[0]

    def jump(self, seconds: float) -> None:
        """Set the wall clock forth, or back."""
        self._start += timedelta(seconds=seconds)


class LifeClock:
    """A clock whose timers die with the process that armed them."""

    def __init__(self, time: WorldTime) -> None:
        self._time = time
        self.timers = TimerHeap()
        self.now = time.now
        self.monotonic = time.monotonic

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        """Call `fn` when `delay` seconds have passed."""
        return self.timers.push(self._time.micros + round(max(0.0, delay) * MICRO), fn)[0]
