"""What partition sets over time share: bounds, membership, ranges, and the text that they read.

A subclass says where its partitions begin: it cuts time into partitions that follow each other without a hole.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar, cast

from flowstone.durations import seconds
from flowstone.durations import text as duration_text
from flowstone.errors import PartitionError, ValidationError, shown
from flowstone.zones import zone

__all__ = ["TimeSet", "split_range"]

K = TypeVar("K", bound=date)


@dataclass(frozen=True, slots=True, repr=False)
class TimeSet(ABC, Generic[K]):
    """Partitions of one length, from `start` to `end`, both inclusive; without them it is open on that side.

    Partitions begin by the wall clock of `timezone`, `offset` seconds (or "6h", or a timedelta) after the natural
    beginning: a `Daily` one with `offset="6h"` begins at six in the morning.

    Raises:
        CronError: the time zone is unknown.
        PartitionError: an end can't be read.
        ValidationError: the offset is negative, not of whole seconds or as long as a partition, or end is before start.
    """

    longest_offset: ClassVar[float]
    expected: ClassVar[str]

    start: K | date | str | None = None
    end: K | date | str | None = None
    timezone: str = field(default="UTC", kw_only=True)
    offset: float | str | timedelta = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        zone(self.timezone)
        object.__setattr__(self, "offset", self._checked_offset())
        object.__setattr__(self, "start", self._given(self.start, is_end=False))
        object.__setattr__(self, "end", self._given(self.end, is_end=True))
        if self._first is not None and self._last is not None and self._last < self._first:
            raise ValidationError(f"expected end to be at or after start, got: {self!r}")

    def __repr__(self) -> str:
        given = (("start", self._first), ("end", self._last))
        ends = [f"{name}={bound.isoformat()!r}" for name, bound in given if bound is not None]
        zoned = [f"timezone={self.timezone!r}"] if self.timezone != "UTC" else []
        shifted = [f"offset={duration_text(self._offset)!r}"] if self._offset else []
        return f"{type(self).__name__}({', '.join([*ends, *zoned, *shifted])})"

    def __contains__(self, value: object) -> bool:
        key = self._as_key(value)
        if key is None or not self._within(key):
            return False
        try:
            return self._floor(key) == key
        except OverflowError:
            return False

    def keys(self, first: K | date | str | None = None, last: K | date | str | None = None) -> list[K]:
        """The partitions of the set from `first` to `last`, both inclusive, in order.

        Raises:
            PartitionError: the set is open on a side where no bound is given, or a bound can't be read.
        """
        starts = [b for b in (self._first, self._given(first, is_end=False)) if b is not None]
        stops = [b for b in (self._last, self._given(last, is_end=True)) if b is not None]
        if not starts or not stops:
            raise PartitionError(f"{self!r} is open; expected first and last to bound its keys")
        return self._walk(max(starts), min(stops))

    def key_of(self, instant: datetime) -> K:
        """The partition that an aware instant falls into, by the set's time zone.

        Raises:
            PartitionError: the instant is naive, or its partition lies outside the set.
        """
        if not _is_aware(instant):
            raise PartitionError(f"expected an aware datetime, got: {shown(instant)}")
        try:
            key = self._key_at(instant)
        except OverflowError as error:
            raise PartitionError(f"expected an instant in the years 1 to 9999, got: {shown(instant)}") from error
        if not self._within(key):
            raise PartitionError(f"{self!r} does not hold {key.isoformat()}", partition=key)
        return key

    def read(self, value: object) -> K:
        """The set's own partition for a value: text is read, anything else is checked.

        Raises:
            PartitionError: the set does not hold it.
        """
        if type(value) is str:
            key: K | None = self._from_text(value)
        else:
            key = self._as_key(value)
        if key is None or key not in self:
            raise PartitionError(f"{self!r} does not hold {shown(value)}; it holds {self.expected}", partition=value)
        return key

    def range(self, text: str) -> list[K]:
        """The partitions of a text such as "2025-01-01..2025-01-05" (here five days), or of a single key.

        Raises:
            PartitionError: it can't be read, goes down, or leaves the set.
        """
        ends = split_range(text)
        if ends is None:
            return [self.read(text)]
        first, last = self._bound(ends[0], is_end=False), self._bound(ends[1], is_end=True)
        if last < first:
            raise PartitionError(f"expected a range that goes up, got: {shown(text)}")
        for end in (first, last):
            if not self._within(end):
                raise PartitionError(f"{self!r} does not hold {end.isoformat()}, an end of {shown(text)}")
        return self._walk(first, last)

    def days(self, key: K) -> tuple[date, date]:
        """The first and the last local day that a partition touches."""
        if isinstance(key, datetime):
            day = key.astimezone(zone(self.timezone)).date()
            return day, day
        return key, self._next(key) - timedelta(days=1)

    def shifted(self, key: K, steps: int) -> K:
        """The partition so many steps after a key, or before it; one that the set does not hold too.

        Raises:
            PartitionError: the calendar does not reach so far.
        """
        moment = timedelta(seconds=1) if isinstance(key, datetime) else timedelta(days=1)
        try:
            for _ in range(abs(steps)):
                key = self._next(key) if steps > 0 else self._floor(key - moment)
        except OverflowError as error:
            raise PartitionError(f"{steps} partitions from there lie outside the years 1 to 9999") from error
        return key

    def over(self, other: "TimeSet[Any]", first: Any, last: Any) -> list[K]:
        """The partitions of the set that touch those of another one from `first` to `last`, in order.

        Days, weeks and months touch by their dates, in whatever zones; hours and others by the instants of both.

        Raises:
            PartitionError: the calendar does not reach so far.
        """
        return [key for key in self._touching(other, first, last) if self._within(key)]

    def last_touching(self, other: "TimeSet[Any]", key: Any) -> K | None:
        """The last partition of the set that touches one of another set, or lies before it; None when all lie after."""
        found = self._touching(other, key, key)
        return self._held(found[-1]) if found else None

    def last(self, key: K, count: int) -> list[K]:
        """The last partitions of the set up to a key, in order, as many as there are."""
        keys = self._walk(self.shifted(key, 1 - count), key)
        return [each for each in keys if self._within(each)]

    def last_over(self, now: datetime | None) -> K | None:
        """The last partition of the set that is over at an instant; None when the first one is not yet.

        Raises:
            PartitionError: no instant is given, and the set has no end.
        """
        if now is None and self._last is None:
            raise PartitionError(f"{self!r} is open; expected an instant, or a set with an end")
        return self._held(None if now is None else self.shifted(self._key_at(now), -1))

    @abstractmethod
    def _floor(self, bound: K) -> K:
        """The last key at or before a bound. Raises OverflowError past the calendar's ends."""

    @abstractmethod
    def _next(self, key: K) -> K:
        """The key after this one. Raises OverflowError past the calendar's end."""

    @abstractmethod
    def _begin(self, key: K) -> datetime:
        """The instant, in UTC, at which a partition begins."""

    @abstractmethod
    def _key_at(self, instant: datetime) -> K:
        """The key of an aware instant. Raises OverflowError past the calendar's ends."""

    @abstractmethod
    def _as_key(self, value: object) -> K | None:
        """The value, when it is of the type of this set's keys."""

    @abstractmethod
    def _from_text(self, text: str) -> K:
        """The key or bound that a text spells. Raises PartitionError."""

    @abstractmethod
    def _bound(self, value: Any, *, is_end: bool) -> K:
        """An end of the set or of a range. Raises PartitionError."""

    @property
    def _offset(self) -> int:
        assert isinstance(self.offset, int)
        return self.offset

    def _checked_offset(self) -> int:
        offset = seconds(self.offset, "offset")
        if offset >= self.longest_offset or offset != int(offset):
            limit = duration_text(self.longest_offset)
            raise ValidationError(f"expected offset to be whole seconds below {limit}, got: {shown(self.offset)}")
        return int(offset)

    @property
    def _first(self) -> K | None:
        return cast("K | None", self.start)

    @property
    def _last(self) -> K | None:
        return cast("K | None", self.end)

    def _given(self, bound: K | date | str | None, *, is_end: bool) -> K | None:
        return None if bound is None else self._bound(bound, is_end=is_end)

    def _within(self, bound: K) -> bool:
        return (self._first is None or self._first <= bound) and (self._last is None or bound <= self._last)

    def _held(self, key: K | None) -> K | None:
        """The last key that the set holds up to this one; the last of all without one."""
        ends = [] if self._last is None else [self._floor(self._last)]
        end = min([*ends, key] if key is not None else ends)
        return end if self._within(end) else None

    def _touching(self, other: "TimeSet[Any]", first: Any, last: Any) -> list[K]:
        """The same as `over`, without regard to the ends of this set."""
        following = other.shifted(last, 1)
        try:
            if type(first) is date and self._as_key(first) is not None:
                return self._walk(self._floor(cast(K, first)), following - timedelta(days=1))
            begin, end = other._begin(first), other._begin(following) - timedelta(microseconds=1)
            return self._walk(self._key_at(begin), self._key_at(end))
        except OverflowError as error:
            raise PartitionError(f"what touches {shown(first)} lies outside the years 1 to 9999") from error

    def _walk(self, first: K, last: K) -> list[K]:
        keys: list[K] = []
        try:
            key = self._floor(first)
            if key < first:
                key = self._next(key)
            while key <= last:
                keys.append(key)
                key = self._next(key)
        except OverflowError:
            pass  # the calendar ends here, and so do its keys
        return keys


def split_range(text: str) -> tuple[str, str] | None:
    """The two ends of "a..b"; None when the text holds no "..".

    Raises:
        PartitionError: it holds an empty end or more than two.

    >>> split_range("2025-01-01..2025-01-05")
    ('2025-01-01', '2025-01-05')
    """
    if not isinstance(text, str):
        raise PartitionError(f"expected a range of text such as '2025-01-01..2025-01-05', got: {shown(text)}")
    if ".." not in text:
        return None
    ends = text.split("..")
    if len(ends) != 2 or not all(ends):
        raise PartitionError(f"expected a range such as '2025-01-01..2025-01-05', got: {shown(text)}")
    return ends[0], ends[1]


def _is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.utcoffset() is not None
