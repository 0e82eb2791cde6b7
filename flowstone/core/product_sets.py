"""Partition sets made of others: each combination of the keys of several dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from flowstone.core.partition_sets import PartitionSet
from flowstone.core.partitions import Partition
from flowstone.core.time_sets import split_range
from flowstone.errors import PartitionError, ValidationError, shown

__all__ = ["Multi"]

_BETWEEN = "|"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Multi:
    """Every combination of the keys of named dimensions; its key is a tuple, in the order of the dimensions.

    Text is read with `|` between the dimensions, each part by its own set; a mapping by the dimensions' names.

    Raises:
        ValidationError: there is no dimension, or one is no partition set, or is made of dimensions itself.

    >>> from flowstone.core.partition_sets import Daily, Static
    >>> sales = Multi(day=Daily(start="2025-01-01"), region=Static(["eu", "us"]))
    >>> sales.read("2025-01-15|eu"), sales.read({"region": "us", "day": "2025-01-15"})
    ((datetime.date(2025, 1, 15), 'eu'), (datetime.date(2025, 1, 15), 'us'))
    >>> len(sales.range("2025-01-01..2025-01-31|*"))
    62
    """

    names: tuple[str, ...]
    sets: tuple[PartitionSet, ...]

    def __init__(self, **dimensions: PartitionSet) -> None:
        if not dimensions:
            raise ValidationError("expected Multi to have dimensions, as in Multi(day=Daily(), region=Static([...]))")
        for name, partitions in dimensions.items():
            if isinstance(partitions, type | Multi) or not isinstance(partitions, PartitionSet):
                expected = f"expected dimension {name!r} to be a partition set of one dimension"
                raise ValidationError(f"{expected}, got: {shown(partitions)}")
        object.__setattr__(self, "names", tuple(dimensions))
        object.__setattr__(self, "sets", tuple(dimensions.values()))

    def __repr__(self) -> str:
        return f"Multi({', '.join(f'{name}={partitions!r}' for name, partitions in self.dimensions.items())})"

    @property
    def dimensions(self) -> dict[str, PartitionSet]:
        """The sets by the names of their dimensions, in order."""
        return dict(zip(self.names, self.sets, strict=True))

    def __contains__(self, value: object) -> bool:
        if type(value) is not tuple or len(value) != len(self.sets):
            return False
        return all(part in partitions for part, partitions in zip(value, self.sets, strict=True))

    def keys(self, first: Any = None, last: Any = None) -> list[Partition]:
        """The keys that in each dimension lie from `first` to `last`, both inclusive; the last dimension runs fastest.

        Raises:
            PartitionError: an end can't be read, or a dimension is open and no end bounds it.
        """
        begins = self._parts(first) if first is not None else (None,) * len(self.sets)
        ends = self._parts(last) if last is not None else (None,) * len(self.sets)
        bounds = zip(self.sets, begins, ends, strict=True)
        return list(product(*(partitions.keys(begin, end) for partitions, begin, end in bounds)))

    def key_of(self, instant: datetime) -> Partition:
        """The key of an aware instant, when each dimension has one.

        Raises:
            PartitionError: a dimension has none, as a list of names.
        """
        return tuple(partitions.key_of(instant) for partitions in self.sets)

    def read(self, value: object) -> Partition:
        """The key that a tuple, a mapping by dimension or a text means, each part read by its dimension.

        Raises:
            PartitionError: a dimension does not hold its part, or parts are missing or too many.
        """
        return tuple(self._read(name, part) for name, part in zip(self.names, self._parts(value), strict=True))

    def range(self, text: str) -> list[Partition]:
        """The keys of a range in each dimension: "a..b|c", "a..b|*" (all of the second) or "a|c..b|d".

        Raises:
            PartitionError: a part can't be read by its dimension, goes down, or parts are missing or too many.
        """
        parts = str(text).split(_BETWEEN)
        if len(parts) == len(self.sets):
            return list(product(*map(self._range, self.names, parts)))
        ends = split_range(text)
        if ends is None:
            raise self._expected(text)
        between = zip(self._parts(ends[0]), self._parts(ends[1]), strict=True)
        return list(product(*map(self._range, self.names, (f"{first}..{last}" for first, last in between))))

    def _range(self, name: str, text: str) -> Iterable[Partition]:
        partitions = self.dimensions[name]
        try:
            return partitions.keys() if text == "*" else partitions.range(text)
        except PartitionError as error:
            raise PartitionError(f"dimension {name!r}: {error}", **error.context) from error

    def _read(self, name: str, part: object) -> Partition:
        try:
            return self.dimensions[name].read(part)
        except PartitionError as error:
            raise PartitionError(f"dimension {name!r}: {error}", **error.context) from error

    def _parts(self, value: object) -> tuple[Any, ...]:
        """A value cut into one part for each dimension."""
        parts: tuple[Any, ...] = ()
        if type(value) is str:
            parts = tuple(value.split(_BETWEEN))
        elif type(value) is tuple:
            parts = value
        elif isinstance(value, Mapping) and set(value) == set(self.names):
            parts = tuple(value[name] for name in self.names)
        if len(parts) != len(self.sets):
            raise self._expected(value)
        return parts

    def _expected(self, value: object) -> PartitionError:
        parts = f"a tuple ({', '.join(self.names)}), or text {_BETWEEN.join(self.names)!r}"
        return PartitionError(f"expected {parts}, got: {shown(value)}")
