"""Intervals: schedules below a minute, or without regard to the calendar."""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flowstone.cron.timing import at, before, floor, nothing
from flowstone.durations import seconds, text
from flowstone.errors import CronError, shown
from flowstone.zones import FIRST_INSTANT, LAST_INSTANT

__all__ = ["Interval"]


@dataclass(frozen=True, slots=True)
class Interval:
    """The multiples of a duration since the epoch: whole seconds, at least 1; the same whenever and wherever asked.

    `every` is seconds, a timedelta, or a text such as "10s"; `seconds` is the same as a whole number.

    >>> from datetime import UTC
    >>> Interval("10s").next_after(datetime(2025, 1, 15, 2, 0, 3, tzinfo=UTC)).isoformat()
    '2025-01-15T02:00:10+00:00'

    Raises:
        CronError: the duration is not of whole seconds, or shorter than one.
        ValidationError: it is no duration at all.
    """

    every: float | timedelta | str = field(compare=False)
    seconds: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        duration = seconds(self.every, "every", maximum=math.inf)  # the calendar ends it, see `next_after`
        if duration < 1 or duration != int(duration):
            reason = f"expected whole seconds, at least 1, got: {shown(self.every)}"
            raise CronError(f"every: {reason}", field="every", reason=reason)
        object.__setattr__(self, "seconds", int(duration))

    def __str__(self) -> str:
        return f"every {text(self.seconds)}"

    def next_after(self, instant: datetime) -> datetime:
        """Return the first multiple strictly after this instant.

        Raises:
            CronError: the instant is naive, or the multiple is past the year 9999.
        """
        second = self._multiple_from(floor(instant) + 1)
        if second > LAST_INSTANT:
            raise nothing(self, "after", instant)
        return at(second)

    def previous_before(self, instant: datetime) -> datetime:
        """Return the last multiple strictly before this instant.

        Raises:
            CronError: the instant is naive, or the multiple is before the year 1.
        """
        second = min(before(instant), LAST_INSTANT) // self.seconds * self.seconds
        if second < FIRST_INSTANT:
            raise nothing(self, "before", instant)
        return at(second)

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Return all multiples after `start` up to and including `end`, in order; none when `end` is not later.

        Raises:
            CronError: an instant is naive.
        """
        multiples = range(self._multiple_from(floor(start) + 1), min(floor(end), LAST_INSTANT) + 1, self.seconds)
        return [at(second) for second in multiples]

    def _multiple_from(self, second: int) -> int:
        return -(-max(second, FIRST_INSTANT) // self.seconds) * self.seconds
