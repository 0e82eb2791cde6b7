"""Mappings: from which partitions of a dependency a partition of an asset is made, said in so many words.

    @shop.asset(partitions=fs.Daily(), mapping={"raw": fs.TimeWindow(start=-6)})      # the week that ends with the day

Without one the sets decide, see `flowstone.core.mapping`. What may be several partitions reaches the asset's function
as a dict by partition, also when it is one or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from flowstone.core.checks import check_int
from flowstone.core.keywords import checked_keywords
from flowstone.core.mapping import along_dimension, check_dimension, check_held
from flowstone.core.partition_sets import PartitionSet
from flowstone.core.partitions import Partition
from flowstone.core.time_sets import TimeSet
from flowstone.errors import PartitionError, ValidationError, shown

__all__ = ["All", "Dimension", "Identity", "Latest", "PartitionMapping", "TimeWindow"]

MOST = 100_000
"""Partitions in either direction that a window reaches."""


@runtime_checkable
class PartitionMapping(Protocol):
    """What every mapping does. Both raise PartitionError on sets that have nothing to do with each other."""

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Check the sets of the dependency and of the asset."""

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """The partition of the dependency, or a list of them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The same partition, which the dependency's set has to hold."""

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Anything goes: a set may hold what another one holds."""

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """The same one.

        Raises:
            PartitionError: the dependency's set does not hold it.
        """
        return check_held(upstream, partition)


@dataclass(frozen=True, slots=True)
class All:
    """All partitions of the dependency, in order; its set needs ends, or keys that are listed."""

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Check that the dependency has a set, which ends.

        Raises:
            PartitionError: it has none, or is open.
        """
        _required(upstream, "All").keys()

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """All keys of the dependency's set.

        Raises:
            PartitionError: it has none, or is open.
        """
        return list(_required(upstream, "All").keys())


@checked_keywords
@dataclass(frozen=True, slots=True)
class Latest:
    """The last `count` partitions of the dependency, in order.

    Where both sets are of time: those up to the asset's own partition. Else those of the whole set; of one over time
    that has no end, those that are over by now.

    Raises:
        ValidationError: count is no int of 1 to 100,000.
    """

    count: int = 1

    def __post_init__(self) -> None:
        _bounded("count", self.count, 1)

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Check that the dependency has a set.

        Raises:
            PartitionError: it has none.
        """
        _required(upstream, "Latest")

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """The last keys of the dependency's set.

        Raises:
            PartitionError: it has none, or is open and no instant is given.
        """
        upstream = _required(upstream, "Latest")
        if not isinstance(upstream, TimeSet):
            return list(upstream.keys())[-self.count:]
        if isinstance(own, TimeSet):
            end = upstream.last_touching(own, own.read(partition))
        else:
            end = upstream.last_over(now)
        return [] if end is None else list(upstream.last(end, self.count))


@checked_keywords
@dataclass(frozen=True, slots=True)
class TimeWindow:
    """What the dependency has from `start` to `end`, counted in partitions of the asset itself, both inclusive.

    `TimeWindow(start=-1)` is the partition before and this one, `TimeWindow(start=-1, end=-1)` the one before. What
    lies outside the dependency's set is left out: at its beginning there is less, or nothing.

    Raises:
        ValidationError: start or end is no int, or end is before start.
    """

    start: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        _bounded("start", self.start, -MOST)
        _bounded("end", self.end, -MOST)
        if self.end < self.start:
            raise ValidationError(f"expected end to be at or after start, got: {self!r}")

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Check that both have sets over time.

        Raises:
            PartitionError: one has none.
        """
        _over_time(upstream, own)

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """The keys of the dependency in the window.

        Raises:
            PartitionError: one of them has no set over time, or the own one does not hold the partition.
        """
        above, mine = _over_time(upstream, own)
        key = mine.read(partition)
        return list(above.over(mine, mine.shifted(key, self.start), mine.shifted(key, self.end)))


@checked_keywords
@dataclass(frozen=True, slots=True)
class Dimension:
    """Along one dimension, named, of the one that is a `Multi`: the dependency, the asset, or both.

    Of a dependency that is: all its partitions with the own one there. Of an asset that is: the partition of that
    dimension. Without this, a dimension that fits the other's set alone is found by itself.
    """

    name: str

    def check(self, upstream: PartitionSet | None, own: PartitionSet | None) -> None:
        """Check that there is such a dimension.

        Raises:
            PartitionError: there is not.
        """
        check_dimension(upstream, own, self.name)

    def partitions(
        self, upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, now: datetime | None
    ) -> Partition | list[Partition]:
        """The keys of the dependency that have to do with the partition in this dimension.

        Raises:
            PartitionError: there is no such dimension.
        """
        return along_dimension(upstream, own, partition, self.name)


def _required(partitions: PartitionSet | None, what: str) -> PartitionSet:
    if partitions is None:
        raise PartitionError(f"{what}() needs a dependency with a partition set, got one without")
    return partitions


def _over_time(upstream: PartitionSet | None, own: PartitionSet | None) -> tuple[TimeSet[Any], TimeSet[Any]]:
    if not isinstance(upstream, TimeSet) or not isinstance(own, TimeSet):
        got = f"{own!r} made from {upstream!r}"
        raise PartitionError(f"expected sets over time, such as Daily(), for a TimeWindow, got: {got}")
    return upstream, own


def _bounded(option: str, given: object, minimum: int) -> None:
    check_int(option, given, minimum=minimum)
    if isinstance(given, int) and given > MOST:
        raise ValidationError(f"expected {option} to be at most {MOST}, got: {shown(given)}")
