"""Partition sets whose keys are dates: days, weeks and months.

The key is the local date on which a partition begins. Days that a zone skipped (Apia had no 30 December 2011)
are keys all the same, of which no instant is.
"""

import re
from abc import abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from flowstone.core.keywords import checked_keywords
from flowstone.core.time_sets import TimeSet
from flowstone.errors import PartitionError, shown
from flowstone.zones import first_instant, zone

__all__ = ["Daily", "Monthly", "Weekly"]

_DAY = 86_400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_WEEK = re.compile(r"[0-9]{4}-W[0-9]{2}")


@dataclass(frozen=True, slots=True, repr=False)
class _CalendarSet(TimeSet[date]):
    @abstractmethod
    def _natural(self, day: date) -> date:
        """The first day of the period, without offset, that holds a day."""

    @abstractmethod
    def _following(self, natural: date) -> date:
        """The first day of the period after the one that begins at `natural`."""

    @property
    def _days(self) -> timedelta:
        return timedelta(days=self._offset // _DAY)

    def _floor(self, bound: date) -> date:
        return self._natural(bound - self._days) + self._days

    def _next(self, key: date) -> date:
        return self._following(key - self._days) + self._days

    def _begin(self, key: date) -> datetime:
        wall = datetime(key.year, key.month, key.day) + timedelta(seconds=self._offset % _DAY)
        return first_instant(self.timezone, wall)

    def _key_at(self, instant: datetime) -> date:
        local = instant.astimezone(zone(self.timezone)).replace(tzinfo=None)
        return self._natural((local - timedelta(seconds=self._offset)).date()) + self._days

    def _as_key(self, value: object) -> date | None:
        return value if type(value) is date else None

    def _from_text(self, text: str) -> date:
        try:
            return self._spelled(text)
        except (OverflowError, ValueError) as error:
            raise PartitionError(f"expected {self.expected}, got: {shown(text)}", partition=text) from error

    def _spelled(self, text: str) -> date:
        if not _DATE.fullmatch(text):
            raise ValueError("not a date")
        return date.fromisoformat(text)

    def _bound(self, value: Any, *, is_end: bool) -> date:
        if type(value) is str:
            return self._from_text(value)
        if type(value) is not date:
            raise PartitionError(f"expected {self.expected}, got: {shown(value)}", partition=value)
        return value


@checked_keywords
@dataclass(frozen=True, slots=True, repr=False)
class Daily(_CalendarSet):
    """Days; the key of one is its date.

    >>> Daily(start="2025-01-01").range("2025-01-30..2025-02-01")
    [datetime.date(2025, 1, 30), datetime.date(2025, 1, 31), datetime.date(2025, 2, 1)]
    """

    longest_offset = float(_DAY)
    expected = "dates such as '2025-01-15'"

    def _natural(self, day: date) -> date:
        return day

    def _following(self, natural: date) -> date:
        return natural + timedelta(days=1)


@checked_keywords
@dataclass(frozen=True, slots=True, repr=False)
class Weekly(_CalendarSet):
    """Weeks from Monday, or with `offset="6d"` from Sunday; the key of one is its first date.

    >>> Weekly().read("2025-W03")
    datetime.date(2025, 1, 13)
    """

    longest_offset = float(7 * _DAY)
    expected = "the first dates of its weeks, such as '2025-01-13', or '2025-W03'"

    def _natural(self, day: date) -> date:
        return day - timedelta(days=day.weekday())

    def _following(self, natural: date) -> date:
        return natural + timedelta(days=7)

    def _spelled(self, text: str) -> date:
        if _WEEK.fullmatch(text):
            return date.fromisocalendar(int(text[:4]), int(text[6:]), 1) + self._days
        return _CalendarSet._spelled(self, text)


@checked_keywords
@dataclass(frozen=True, slots=True, repr=False)
class Monthly(_CalendarSet):
    """Months; the key of one is its first date.

    >>> Monthly().read("2025-03")
    datetime.date(2025, 3, 1)
    """

    longest_offset = float(28 * _DAY)
    expected = "the first dates of its months, such as '2025-03-01', or '2025-03'"

    def _natural(self, day: date) -> date:
        return day.replace(day=1)

    def _following(self, natural: date) -> date:
        return (natural + timedelta(days=31)).replace(day=1)

    def _spelled(self, text: str) -> date:
        if _MONTH.fullmatch(text):
            return date(int(text[:4]), int(text[5:]), 1) + self._days
        return _CalendarSet._spelled(self, text)
