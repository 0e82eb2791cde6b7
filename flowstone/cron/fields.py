"""The local instants that five fields match, as bit masks.

The minutes of a day are one mask of 1440 bits. The days are a mask for each of the 28 shapes that a month can have
(first weekday, length), so that finding a day is a shift, and whether an expression can match at all is
decided from the table, never by searching years.

Local instants are whole seconds since 1970-01-01T00:00:00 of the local clock.
"""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise

__all__ = ["DayOfMonth", "DayOfWeek", "Days", "Fields", "days"]

EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_DAY = date.min.toordinal() - EPOCH_DAY
LAST_DAY = date.max.toordinal() - EPOCH_DAY
MINUTES = 1440
ALL_MONTHS = 0b1111111111110
SHAPES = tuple((first, length) for length in range(28, 32) for first in range(7))
"""First weekday (Sunday is 0) and length of every month that the calendar has."""
MONTH_STARTS = [date(year, month, 1).toordinal() for year in range(2000, 2401) for month in range(1, 13)]
CALENDAR = bytes(1) + bytes((after - start - 28) * 7 + start % 7 for start, after in pairwise(MONTH_STARTS))
"""The shape of a month, at `year % 400 * 12 + month`: the calendar repeats after 400 years."""
POSSIBLE = tuple(frozenset(CALENDAR[month::12]) for month in range(1, 13))
"""The shapes that January to December can have."""


@dataclass(frozen=True, slots=True)
class DayOfMonth:
    """A day-of-month field: a mask of days, perhaps the last day, perhaps the weekday nearest to a day."""

    days: int
    last: bool = False
    nearest: int | None = None
    restricts: bool = True

    def mask(self, first: int, length: int) -> int:
        """Return the days of a month that begins on weekday `first`, as bits 1 to `length`."""
        if self.nearest is not None:
            return 1 << _nearest_weekday(self.nearest, first, length)
        return (self.days | self.last << length) & _whole(length)


@dataclass(frozen=True, slots=True)
class DayOfWeek:
    """A day-of-week field: a mask of weekdays (Sunday is 0), or pairs of a weekday and its number (0: the last)."""

    weekdays: int
    nth: tuple[tuple[int, int], ...] = ()
    restricts: bool = True

    def mask(self, first: int, length: int) -> int:
        """Return the days of a month that begins on weekday `first`, as bits 1 to `length`."""
        found = 0
        for weekday, nth in self.nth:
            start = 1 + (weekday - first) % 7
            found |= 1 << (start + 7 * (nth - 1) if nth else start + (length - start) // 7 * 7)
        for day in range(1, length + 1):
            found |= (self.weekdays >> (first + day - 1) % 7 & 1) << day
        return found & _whole(length)


@dataclass(frozen=True, slots=True)
class Days:
    """The days that match: a mask of months (bits 1 to 12), and a mask of days for each of `SHAPES`."""

    months: int
    shapes: tuple[int, ...]

    @property
    def every(self) -> bool:
        """Whether each day of the calendar matches."""
        return self.months == ALL_MONTHS and self.shapes == tuple(_whole(length) for _, length in SHAPES)

    @property
    def possible(self) -> bool:
        """Whether any day of the calendar matches: all 14 kinds of year occur, so all shapes of a month do."""
        months = (shapes for month, shapes in enumerate(POSSIBLE, 1) if self.months >> month & 1)
        return any(self.shapes[shape] for shapes in months for shape in shapes)

    def first(self, day: int) -> int | None:
        """Return the first matching day (since 1970-01-01) from `day` on; None past the year 9999."""
        if day > LAST_DAY:
            return None
        at = date.fromordinal(day + EPOCH_DAY)
        year, month, skipped = at.year, at.month, at.day
        start = day - skipped
        while True:
            if self.months >> month & 1:
                left = self.shapes[CALENDAR[year % 400 * 12 + month]] >> skipped
                if left:
                    return start + skipped + (left & -left).bit_length() - 1
            later = self.months >> (month + 1)
            year, month = (year, month + 1) if later else (year + 1, 1)
            later = later or self.months >> 1
            month += (later & -later).bit_length() - 1
            if year > date.max.year:
                return None
            start, skipped = date(year, month, 1).toordinal() - EPOCH_DAY - 1, 0

    def last(self, day: int) -> int | None:
        """Return the last matching day (since 1970-01-01) up to `day`; None before the year 1."""
        if day < FIRST_DAY:
            return None
        at = date.fromordinal(day + EPOCH_DAY)
        year, month = at.year, at.month
        start, kept = day - at.day, (2 << at.day) - 1
        while True:
            if self.months >> month & 1:
                left = self.shapes[CALENDAR[year % 400 * 12 + month]] & kept
                if left:
                    return start + left.bit_length() - 1
            earlier = self.months & ((1 << month) - 1)
            year = year if earlier else year - 1
            month = (earlier or self.months).bit_length() - 1
            if year < date.min.year:
                return None
            start, kept = date(year, month, 1).toordinal() - EPOCH_DAY - 1, -1


@dataclass(frozen=True, slots=True)
class Fields:
    """What five fields match: a mask of the day's minutes, and days (None: every day).

    `wildcard` tells whether the text of the minute or the hour begins with `*` (Debian's cron(8)).
    """

    times: int
    days: Days | None
    wildcard: bool

    def first(self, second: int) -> int | None:
        """Return the first matching local second from `second` on; None past the year 9999."""
        day, minute = divmod((second + 59) // 60, MINUTES)
        left = self.times >> minute
        if not left:
            day, minute, left = day + 1, 0, self.times
        if self.days is not None:
            found = self.days.first(day)
            if found is None:
                return None
            if found != day:
                day, minute, left = found, 0, self.times
        elif day > LAST_DAY:
            return None
        return (day * MINUTES + minute + (left & -left).bit_length() - 1) * 60

    def last(self, second: int) -> int | None:
        """Return the last matching local second up to `second`; None before the year 1."""
        day, minute = divmod(second // 60, MINUTES)
        left = self.times & ((2 << minute) - 1)
        if not left:
            day, left = day - 1, self.times
        if self.days is not None:
            found = self.days.last(day)
            if found is None:
                return None
            if found != day:
                day, left = found, self.times
        elif day < FIRST_DAY:
            return None
        return (day * MINUTES + left.bit_length() - 1) * 60


@lru_cache(maxsize=4096)
def days(day: DayOfMonth, weekday: DayOfWeek, months: int) -> Days:
    """Return the days on which both fields match, or either one where both restrict (Debian's crontab(5))."""
    masks = zip(_masks(day), _masks(weekday), strict=True)
    if day.restricts and weekday.restricts:
        return Days(months, tuple(one | other for one, other in masks))
    return Days(months, tuple(one & other for one, other in masks))


@lru_cache(maxsize=4096)
def _masks(field: DayOfMonth | DayOfWeek) -> tuple[int, ...]:
    return tuple(field.mask(first, length) for first, length in SHAPES)


def _whole(length: int) -> int:
    return (2 << length) - 2


def _nearest_weekday(day: int, first: int, length: int) -> int:
    day = min(day, length)
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else 3
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
