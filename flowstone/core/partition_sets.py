"""Partition sets: which partitions an asset has, and how text and instants become one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol, runtime_checkable

from flowstone.core.calendar_sets import Daily, Monthly, Weekly
from flowstone.core.hourly import Hourly
from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.time_sets import split_range
from flowstone.errors import PartitionError, ValidationError, did_you_mean, shown

__all__ = ["Daily", "Hourly", "Monthly", "PartitionSet", "Static", "Weekly"]


@runtime_checkable
class PartitionSet(Protocol):
    """What every partition set does. All raise PartitionError on what the set does not hold."""

    def keys(self, first: Any = None, last: Any = None) -> Sequence[Partition]:
        """The partitions from `first` to `last`, both inclusive, in order."""

    def __contains__(self, value: object) -> bool: ...

    def key_of(self, instant: datetime) -> Partition:
        """The partition of an aware instant."""

    def read(self, value: object) -> Partition:
        """The set's own partition for a value: text is read, anything else is checked."""

    def range(self, text: str) -> Sequence[Partition]:
        """The partitions of "a..b", or of a single key."""


@checked_keywords
@dataclass(frozen=True, slots=True)
class Static:
    """Partitions that are listed, in that order.

    Text is read as the str of the list, else as the plain or the stored form of another key: `Static([1, 2])`
    reads "1".

    Raises:
        PartitionError: a key is no legal partition.
        ValidationError: there are none, one is there twice, or they are no list.

    >>> Static(["eu", "us", "asia"]).range("us..asia")
    ['us', 'asia']
    """

    members: tuple[Partition, ...]
    _by_text: dict[str, Partition] = field(init=False, repr=False, compare=False)
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __init__(self, keys: Iterable[Partition]) -> None:
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise ValidationError(f"expected keys to be a list of partitions, got: {shown(keys)}")
        members = tuple(keys)
        places = {encode_partition(key): place for place, key in enumerate(members)}
        if len(places) < len(members) or not members:
            raise ValidationError(f"expected keys to be at least one, and different ones, got: {shown(members)}")
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "_places", places)
        object.__setattr__(self, "_by_text", _texts(members))

    def __contains__(self, value: object) -> bool:
        try:
            return encode_partition(value) in self._places
        except PartitionError:
            return False

    def keys(self, first: object = None, last: object = None) -> list[Partition]:
        """The keys in the order of the list, from `first` to `last`, both inclusive.

        Raises:
            PartitionError: one of them is not in the list.
        """
        begin = 0 if first is None else self._place(first)
        end = len(self.members) if last is None else self._place(last) + 1
        return list(self.members[begin:end])

    def key_of(self, instant: datetime) -> Partition:
        """Nothing: a list has no key of an instant.

        Raises:
            PartitionError: always.
        """
        raise PartitionError(f"{self!r} has no partition of an instant; give the partition, or a partition rule")

    def read(self, value: object) -> Partition:
        """The key that a value is, or that a text spells.

        Raises:
            PartitionError: the list does not hold it.
        """
        return self.members[self._place(value)]

    def range(self, text: str) -> list[Partition]:
        """The keys of "a..b" in the order of the list, or a single key.

        Raises:
            PartitionError: an end is not in the list, or the range goes down.
        """
        ends = None if text in self._by_text else split_range(text)
        if ends is None:
            return [self.read(text)]
        keys = self.members[self._place(ends[0]):self._place(ends[1]) + 1]
        if not keys:
            raise PartitionError(f"expected a range in the order of {self!r}, got: {shown(text)}")
        return list(keys)

    def _place(self, value: object) -> int:
        if type(value) is str and value in self._by_text:
            value = self._by_text[value]
        place = self._places.get(encode_partition(value))
        if place is None:
            hint = did_you_mean(value, self._by_text) if isinstance(value, str) else ""
            raise PartitionError(f"{shown(self, 200)} does not hold {shown(value)}{hint}", partition=value)
        return place


def _texts(keys: tuple[Partition, ...]) -> dict[str, Partition]:
    # Later entries win: a text that is itself in the list always means itself.
    plain = {_plain(key): key for key in reversed(keys) if key is not None and not isinstance(key, tuple)}
    stored = {encode_partition(key): key for key in keys}
    return plain | stored | {key: key for key in keys if isinstance(key, str)}


def _plain(key: Partition) -> str:
    if isinstance(key, date):
        return key.isoformat()
    return str(key).lower() if isinstance(key, bool) else str(key)
