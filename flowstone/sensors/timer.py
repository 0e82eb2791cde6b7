"""One sensor's timer: on the grid of its interval, after failures ever later, and only one at a time."""

from __future__ import annotations

from datetime import timedelta

from actors import Actor
from actors.timers import Timer
from flowstone.sensors.backoff import backoff, regular
from flowstone.sensors.evaluation import LONGEST_RETRY_AFTER
from flowstone.sensors.messages import TimerDue
from flowstone.sensors.rows import SensorRow, slowing

__all__ = ["PollTimer"]


class PollTimer:
    """Sends its actor `TimerDue`; `interval` in seconds, None never does."""

    def __init__(self, actor: Actor, interval: float | None) -> None:
        self._actor = actor
        self._interval = interval
        self._timer: Timer | None = None
        self._anchor: float | None = None
        self._pace: tuple[int, bool] | None = None
        self._due = 0.0
        self._earliest = 0.0

    def hold(self, seconds: float | None) -> None:
        """Wait at least so long before the next message that `follow` arms; None takes that back."""
        self._earliest = 0.0 if seconds is None else self._actor.clock.monotonic() + seconds

    def fired(self) -> None:
        """The message has come; `follow` arms the next one."""
        self._timer = None

    def lateness(self) -> float:
        """Seconds since the message that was armed last was due."""
        return max(0.0, self._actor.clock.monotonic() - self._due)

    def regular_wait(self) -> float | None:
        """Seconds until the next poll that the interval asks for; None without an interval."""
        if self._interval is None:
            return None
        now = self._actor.clock.monotonic()
        return self._interval if self._anchor is None else regular(self._anchor, self._interval, now) - now

    def follow(self, row: SensorRow) -> None:
        """Arm the timer as the row asks, or stop it; one that waits at the row's pace is left alone."""
        if self._interval is None:
            return
        pace = None if row.paused or row.orphaned else (row.consecutive_failures, bool(slowing(row.faults)))
        if pace is not None and pace == self._pace and self._timer is not None:
            return
        if self._timer is not None:
            self._actor.cancel(self._timer)
            self._timer = None
        self._pace = pace
        if pace is not None:
            now = self._actor.clock.monotonic()
            wait = max(self._wait(row, self._interval), self._earliest - now)
            self._due = now + wait
            if self._anchor is None:
                self._anchor = self._due
            self._timer = self._actor.send_after(wait, TimerDue())

    def _wait(self, row: SensorRow, interval: float) -> float:
        """Seconds from now. Where they follow from stored instants, a clock that was set back does not prolong them."""
        now = self._actor.clock.now()
        if row.consecutive_failures or slowing(row.faults):
            longest = backoff(row.name, row.consecutive_failures, interval, broken=bool(slowing(row.faults)))
            if self._anchor is None and row.next_poll_at is not None and row.last_evaluation_at is not None:
                # Before a restart the service may have asked for a longer wait.
                asked = (row.next_poll_at - row.last_evaluation_at).total_seconds()
                longest = max(longest, min(asked, LONGEST_RETRY_AFTER))
            due = (row.last_evaluation_at or now) + timedelta(seconds=longest)
        elif self._anchor is None:
            longest = interval
            due = row.next_poll_at or now + timedelta(seconds=interval)
        else:
            monotonic = self._actor.clock.monotonic()
            return regular(self._anchor, interval, monotonic) - monotonic
        return min(max((due - now).total_seconds(), 0.0), longest)
