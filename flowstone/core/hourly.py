"""The partition set of hours, whose keys are the instants at which they begin.

An hour of a zone's wall clock is cut where the zone changes its offset: the hour that is repeated in autumn makes two
keys, the one skipped in spring none, and where a zone moves by half an hour there is a partition of half an hour.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flowstone.core.keywords import checked_keywords
from flowstone.core.time_sets import TimeSet
from flowstone.errors import PartitionError, shown
from flowstone.zones import LAST_INSTANT, Segment, segment_at, zone

__all__ = ["Hourly"]

_HOUR = 3600
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3])(:[0-9]{2}(:[0-9]{2})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@checked_keywords
@dataclass(frozen=True, slots=True, repr=False)
class Hourly(TimeSet[datetime]):
    """Hours; the key of one is the aware UTC instant at which it begins.

    Text without an offset is read by the set's wall clock. A date as an end means that whole day.

    >>> len(Hourly(timezone="America/New_York").range("2025-11-02..2025-11-02"))
    25
    """

    longest_offset = float(_HOUR)
    expected = "the beginnings of its hours, such as '2025-01-15T02:00' by its own clock or '2025-01-15T02:00Z'"

    def _floor(self, bound: datetime) -> datetime:
        epoch = _epoch(bound)
        segment = segment_at(self.timezone, epoch)
        return _instant(max(self._hour(epoch, segment), segment.start))

    def _next(self, key: datetime) -> datetime:
        epoch = _epoch(key)
        segment = segment_at(self.timezone, epoch)
        following = min(self._hour(epoch, segment) + _HOUR, segment.end)
        if following > LAST_INSTANT:
            raise OverflowError("past the year 9999")
        return _instant(following)

    def _begin(self, key: datetime) -> datetime:
        return key

    def _key_at(self, instant: datetime) -> datetime:
        return self._floor(instant.astimezone(UTC))

    def _as_key(self, value: object) -> datetime | None:
        if type(value) is not datetime or value.utcoffset() is None:
            return None
        try:
            return value.astimezone(UTC)
        except OverflowError:
            return None

    def _from_text(self, text: str) -> datetime:
        try:
            if not _MOMENT.fullmatch(text):
                raise ValueError("not an hour")
            return self._read(datetime.fromisoformat(text))
        except (OverflowError, ValueError) as error:
            raise PartitionError(f"expected {self.expected}, got: {shown(text)}", partition=text) from error

    def _bound(self, value: Any, *, is_end: bool) -> datetime:
        if type(value) is datetime:
            return self._read(value)
        if type(value) is str and not _DATE.fullmatch(value):
            return self._from_text(value)
        try:
            day = value if type(value) is date else date.fromisoformat(value)
            if is_end:
                return self._first_of(day + timedelta(days=1)) - timedelta(microseconds=1)
            return self._first_of(day)
        except (OverflowError, TypeError, ValueError) as error:
            raise PartitionError(f"expected {self.expected}, got: {shown(value)}", partition=value) from error

    def _read(self, moment: datetime) -> datetime:
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
        passes = {moment.replace(tzinfo=zone(self.timezone), fold=fold).astimezone(UTC) for fold in (0, 1)}
        real = sorted(p for p in passes if p.astimezone(zone(self.timezone)).replace(tzinfo=None) == moment)
        if len(real) == 1:
            return real[0]
        twice = " and ".join(f"{instant.replace(tzinfo=None).isoformat()}Z" for instant in real)
        reason = f"occurs twice, as {twice}; write one of these" if real else "is skipped by a change of the clock"
        raise PartitionError(f"{moment.isoformat()} {reason} (in {self.timezone})", partition=moment)

    def _first_of(self, day: date) -> datetime:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone(self.timezone))
        key = self._floor(midnight.astimezone(UTC))
        # The hour of midnight may have begun the day before: by the set's offset, or in a fold at midnight.
        while key.astimezone(zone(self.timezone)).date() < day:
            key = self._next(key)
        return key

    def _hour(self, epoch: int, segment: Segment) -> int:
        return epoch - (epoch + segment.offset - self._offset) % _HOUR


def _epoch(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(seconds=1)


def _instant(epoch: int) -> datetime:
    return _EPOCH + timedelta(seconds=epoch)
