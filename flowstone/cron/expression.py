"""Cron expressions in a time zone, as instants."""

from bisect import bisect_right
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any

from flowstone.cron.fields import Fields
from flowstone.cron.syntax import parse
from flowstone.cron.text import refuse
from flowstone.cron.timing import at, before, floor, nothing
from flowstone.cron.windows import FOLDS, GAPS, Timeline, timeline
from flowstone.zones import zone

__all__ = ["Cron"]

NEAR, FAR = 2200, 9999
"""Windows are made up to the first of these years, and up to the second when an answer needs them."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression in a time zone: a pure, endless, strictly increasing sequence of instants.

    The rules are Debian's crontab(5) and cron(8). A *fixed* expression (neither minute nor hour begins with `*`)
    whose local time is skipped fires once, at the first instant after the gap (`gap="shift"`), or not (`"skip"`);
    where local time repeats it fires in the first pass (`fold="first"`), the `"last"`, or `"both"`. Others
    follow the clock on the wall. `name` is what `H` is a hash of.

    >>> from datetime import UTC
    >>> cron = Cron("30 2 * * *", "America/New_York")
    >>> cron.next_after(datetime(2025, 3, 9, tzinfo=UTC)).isoformat()
    '2025-03-09T07:00:00+00:00'

    Raises:
        CronError: the expression, the zone, `gap` or `fold` is refused; it names the expression, field and reason.
    """

    expression: str
    timezone: str = "UTC"
    _: KW_ONLY
    gap: str = "shift"
    fold: str = "first"
    name: str | None = None
    _fields: Fields = field(init=False, repr=False, compare=False)
    _near: Timeline = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = parse(self.expression, self.name)
        for option, value, known in (("gap", self.gap, GAPS), ("fold", self.fold, FOLDS)):
            if value not in known:
                raise refuse(self.expression, option, f"expected one of {', '.join(known)}, got: {value!r}")
        zone(self.timezone)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_near", self._timeline(NEAR))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.expression, self.timezone, self.gap, self.fold, self.name)

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})"

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant strictly after this one, in UTC.

        Raises:
            CronError: the instant is naive, or nothing matches before the year 10000.
        """
        found = self._first(floor(instant) + 1)
        if found is None:
            raise nothing(self, "after", instant)
        return at(found)

    def previous_before(self, instant: datetime) -> datetime:
        """Return the last instant strictly before this one, in UTC.

        Raises:
            CronError: the instant is naive, or nothing matches since the year 1.
        """
        found = self._last(before(instant))
        if found is None:
            raise nothing(self, "before", instant)
        return at(found)

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Return all instants after `start` up to and including `end`, in order; none when `end` is not later.

        Raises:
            CronError: an instant is naive.
        """
        found, last = self._first(floor(start) + 1), floor(end)
        instants = []
        while found is not None and found <= last:
            instants.append(at(found))
            found = self._first(found + 1)
        return instants

    def _first(self, second: int) -> int | None:
        line = self._near if second < self._near.end else self._timeline(FAR)
        windows = line.windows
        index = bisect_right(line.begins, second, 1) - 1
        search, start, end, offset = windows[index]
        local = second + offset
        if local <= start:
            local = search
        match = self._fields.first(local)
        while match is not None:
            if match < end:
                return (match if match > start else start) - offset
            index += 1
            if index == len(windows):
                return self._first(line.end) if line is self._near else None
            search, start, end, offset = windows[index]
            # Nothing matches from `local` up to `match`, so only a window that begins elsewhere is searched.
            if not local <= search <= match:
                local = search
                match = self._fields.first(local)
        return None

    def _last(self, second: int) -> int | None:
        line = self._near if second < self._near.end else self._timeline(FAR)
        for index in range(bisect_right(line.begins, second) - 1, -1, -1):
            search, start, end, offset = line.windows[index]
            local = min(second + offset, end - 1)
            match = self._fields.last(local) if local >= start else None
            if match is not None and match >= search:
                return (match if match > start else start) - offset
        return None

    def _timeline(self, until: int) -> Timeline:
        # The clock on the wall, which wildcard expressions follow, is what no shift and both passes make.
        if self._fields.wildcard:
            return timeline(self.timezone, until, "skip", "both")
        return timeline(self.timezone, until, self.gap, self.fold)


def _restored(expression: str, timezone: str, gap: str, fold: str, name: str | None) -> Cron:
    return Cron(expression, timezone, gap=gap, fold=fold, name=name)
