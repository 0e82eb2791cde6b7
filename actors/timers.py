"""Timers of actors: messages to itself, later. They end with their actor and never reach its successor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.errors import SpecError
from actors.messages import Tick

if TYPE_CHECKING:
    from actors.cell import Cell

__all__ = ["Timer"]


class Timer:
    """One timer of one incarnation.

    `coalesced` counts the ticks of `send_every` that found the one before still waiting, and those that a late
    clock skipped.
    """

    __slots__ = ("_cell", "_due", "_envelope", "_handle", "_interval", "_waiting", "active", "coalesced", "message")

    def __init__(self, cell: Cell, delay: float, interval: float | None, message: Any) -> None:
        self._cell = cell
        self._interval = interval
        self._waiting = False
        self._envelope = (Tick(self), None, None)
        self.message = message
        self.active = True
        self.coalesced = 0
        if cell.timers is None:
            cell.timers = set()
        cell.timers.add(self)
        clock = cell.system.clock
        self._due = clock.monotonic() + delay
        self._handle = clock.call_after(delay, self._fire)

    @classmethod
    def once(cls, cell: Cell, delay: float, message: Any) -> Timer:
        """Send `message` after `delay` seconds. Raises SpecError for a delay below 0."""
        if not delay >= 0:
            raise SpecError(f"expected delay to be seconds from 0 up, got: {delay!r}")
        return cls(cell, delay, None, message)

    @classmethod
    def every(cls, cell: Cell, interval: float, message: Any) -> Timer:
        """Send `message` every `interval` seconds. Raises SpecError unless the interval is above 0."""
        if not interval > 0:
            raise SpecError(f"expected interval to be positive seconds, got: {interval!r}")
        return cls(cell, interval, interval, message)

    def cancel(self) -> None:
        """End the timer; harmless when it has ended."""
        if self.active:
            self.active = False
            self._handle.cancel()
            if self._cell.timers is not None:
                self._cell.timers.discard(self)

    def delivered(self) -> bool:
        """Note that the message's turn has come; returns False when it was cancelled meanwhile."""
        self._waiting = False
        if not self.active:
            return False
        if self._interval is None:
            self.cancel()
        return True

    def _fire(self) -> None:
        if not self.active:
            return
        if self._interval is not None:
            self._rearm(self._interval)
        if self._waiting:
            self.coalesced += 1
            return
        self._waiting = True
        self._cell.send(self._envelope)

    def _rearm(self, interval: float) -> None:
        # The next due time is counted from the last due time, not from now: that is what keeps it from drifting.
        clock = self._cell.system.clock
        now = clock.monotonic()
        self._due += interval
        if self._due <= now:
            missed = int((now - self._due) // interval) + 1
            self.coalesced += missed
            self._due += missed * interval
        self._handle = clock.call_after(self._due - now, self._fire)
