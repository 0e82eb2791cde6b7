"""Which partitions of an upstream asset one partition of an asset is made from, by their partition sets. Pure.

| upstream has | the asset has | made from |
|---|---|---|
| no set | anything | the same partition |
| a set that holds the partition, of the same kind | a set of that kind, or none | the same partition |
| longer periods | shorter ones | the one period around it |
| shorter periods | longer ones | all that touch it, in order |
| a set with both ends | no set, partition `None` | all of its partitions, in order |
"""

from __future__ import annotations

from typing import Any

from flowstone.core.partition_sets import PartitionSet
from flowstone.core.partitions import Partition
from flowstone.core.time_sets import TimeSet
from flowstone.errors import PartitionError, shown

__all__ = ["check_mapping", "upstream_partitions"]


def upstream_partitions(
    upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition
) -> Partition | list[Partition]:
    """The one partition of the upstream asset, or a list when there may be several.

    Raises:
        PartitionError: the sets have nothing to do with each other, or the upstream one has no ends.

    >>> from datetime import date
    >>> from flowstone.core.partition_sets import Daily, Monthly
    >>> len(upstream_partitions(Daily(), Monthly(), date(2025, 2, 1)))
    28
    """
    if upstream is None or (partition in upstream and (own is None or type(own) is type(upstream))):
        return partition
    if isinstance(upstream, TimeSet) and isinstance(own, TimeSet):
        return _by_time(upstream, own, partition)
    if own is None and partition is None:
        return list(upstream.keys())
    if partition in upstream:
        return partition
    raise PartitionError(f"{upstream!r} has no partition that belongs to {shown(partition)}", partition=partition)


def check_mapping(upstream: PartitionSet | None, own: PartitionSet | None) -> None:
    """Check that partitions of `own` can be made from those of `upstream`, as far as the sets alone tell.

    Raises:
        PartitionError: they can't.
    """
    if upstream is None or own is None:
        return
    if isinstance(upstream, TimeSet) != isinstance(own, TimeSet):
        raise PartitionError(f"expected sets that have to do with each other, got: {own!r} made from {upstream!r}")


def _by_time(upstream: TimeSet[Any], own: TimeSet[Any], partition: Partition) -> Partition | list[Partition]:
    first, last = own.days(own.read(partition))
    found = upstream.touching(first, last)
    if len(found) == 1 and upstream.days(found[0])[0] <= first and last <= upstream.days(found[0])[1]:
        one: Partition = found[0]
        return one
    return list(found)
