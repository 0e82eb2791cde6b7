"""Which partitions of an upstream asset one partition of an asset is made from, by their partition sets. Pure.

| upstream has | the asset has | made from |
|---|---|---|
| no set | anything | the same partition |
| a set that holds the partition, of the same kind | a set of that kind, or none | the same partition |
| longer periods | shorter ones | the one period around it, or around its beginning |
| shorter periods, or months | longer ones, or weeks | all that touch it, in order |
| dimensions | dimensions | in each that both name as above, all keys of the others that upstream has |
| dimensions | one set that fits one of them | as above in that dimension, all keys of the others |
| one set | dimensions of which one fits it | as above for the part of that dimension |
| keys that are listed, or a set with both ends | no set, partition `None` | all of its partitions, in order |

Whoever wants it otherwise says so, see `flowstone.core.mappings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, cast

from flowstone.core.partition_sets import Daily, Hourly, Monthly, PartitionSet, Weekly
from flowstone.core.partitions import Partition
from flowstone.core.product_sets import Multi
from flowstone.core.time_sets import TimeSet
from flowstone.errors import PartitionError, did_you_mean, shown

__all__ = ["along_dimension", "check_dimension", "check_held", "check_mapping", "upstream_partitions"]

_AROUND: Mapping[type, tuple[type, ...]] = {Hourly: (Daily, Weekly, Monthly), Daily: (Weekly, Monthly)}
"""The kinds of which one period is around each of the shorter kind. A week may lie in two months."""


def upstream_partitions(
    upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition
) -> Partition | list[Partition]:
    """The one partition of the upstream asset, or a list when there may be several.

    Raises:
        PartitionError: the sets have nothing to do with each other, the upstream one has no ends, or it does not hold
            the one partition that is meant.

    >>> from datetime import date
    >>> from flowstone.core.partition_sets import Daily, Monthly
    >>> len(upstream_partitions(Daily(), Monthly(), date(2025, 2, 1)))
    28
    """
    if upstream is None or (upstream == own and partition in upstream):
        return partition
    if own is not None and (isinstance(upstream, Multi) or isinstance(own, Multi)):
        return _by_dimensions(upstream, own, partition, _fitting(upstream, own))
    if partition in upstream and (own is None or type(own) is type(upstream)):
        return partition
    if isinstance(upstream, TimeSet) and isinstance(own, TimeSet):
        return _by_time(upstream, own, partition)
    if own is None and partition is None:
        return _all_of(upstream)
    return check_held(upstream, partition)


def _all_of(upstream: PartitionSet) -> list[Partition]:
    try:
        return list(upstream.keys())
    except PartitionError as error:
        raise PartitionError(f"{error}, or a partition to be named: which one is to be made?") from error


def along_dimension(
    upstream: PartitionSet | None, own: PartitionSet | None, partition: Partition, name: str
) -> Partition | list[Partition]:
    """The same, along the dimension of this name, of whichever has dimensions.

    Raises:
        PartitionError: neither has such a dimension.
    """
    check_dimension(upstream, own, name)
    assert upstream is not None and own is not None
    return _by_dimensions(upstream, own, partition, _pairs(upstream, own, name))


def check_held(upstream: PartitionSet | None, partition: Partition) -> Partition:
    """The partition, when the upstream set holds it.

    Raises:
        PartitionError: it does not.
    """
    if upstream is not None and partition not in upstream:
        raise PartitionError(f"{upstream!r} has no partition that belongs to {shown(partition)}", partition=partition)
    return partition


def check_mapping(upstream: PartitionSet | None, own: PartitionSet | None) -> None:
    """Check that partitions of `own` can be made from those of `upstream`, as far as the sets alone tell.

    Raises:
        PartitionError: they can't.
    """
    if upstream is None or own is None:
        return
    if isinstance(upstream, Multi) or isinstance(own, Multi):
        _fitting(upstream, own)
    elif isinstance(upstream, TimeSet) != isinstance(own, TimeSet):
        raise _strangers(upstream, own)


def check_dimension(upstream: PartitionSet | None, own: PartitionSet | None, name: str) -> None:
    """Check that there is a dimension of this name, in each of the two that has dimensions.

    Raises:
        PartitionError: there is not.
    """
    many = [each for each in (upstream, own) if isinstance(each, Multi)]
    if not many or upstream is None or own is None:
        raise PartitionError(f"Dimension({name!r}) needs two sets, one of them a Multi, got: {own!r} from {upstream!r}")
    for each in many:
        if name not in each.dimensions:
            raise PartitionError(f"{each!r} has no dimension {name!r}{did_you_mean(name, each.names)}")


def _by_dimensions(
    upstream: PartitionSet, own: PartitionSet, partition: Partition, pairs: Mapping[str, str]
) -> Partition | list[Partition]:
    """`pairs` names for dimensions of upstream those of the asset that they go with; of the others all keys count."""
    mine, key = _dimensions(own), own.read(partition)
    parts = dict(zip(mine, key if isinstance(own, Multi) and isinstance(key, tuple) else (key,), strict=True))
    columns = [
        upstream_partitions(partitions, mine[pairs[name]], parts[pairs[name]])
        if name in pairs
        else list(partitions.keys())
        for name, partitions in _dimensions(upstream).items()
    ]
    several = any(isinstance(column, list) for column in columns)
    found = product(*(column if isinstance(column, list) else [column] for column in columns))
    keys: list[Partition] = [each if isinstance(upstream, Multi) else each[0] for each in found]
    return keys if several else keys[0]


def _pairs(upstream: PartitionSet, own: PartitionSet, name: str) -> dict[str, str]:
    return {name if isinstance(upstream, Multi) else "": name if isinstance(own, Multi) else ""}


def _fitting(upstream: PartitionSet, own: PartitionSet) -> dict[str, str]:
    """Which dimensions of the two go together: those of one name, or the only one that fits the other set."""
    if isinstance(upstream, Multi) and isinstance(own, Multi):
        pairs = {name: name for name in upstream.names if name in own.names}
        for name in pairs:
            check_mapping(upstream.dimensions[name], own.dimensions[name])
        if not pairs:
            raise _strangers(upstream, own)
        return pairs
    many, one = (upstream, own) if isinstance(upstream, Multi) else (own, upstream)
    names = [name for name, partitions in _dimensions(many).items() if _fits(partitions, one)]
    if not names:
        raise _strangers(upstream, own)
    if len(names) > 1:
        advice = f"say which, as in mapping={{…: Dimension({names[0]!r})}}"
        raise PartitionError(f"several dimensions of {many!r} fit {one!r}: {', '.join(names)}; {advice}")
    return _pairs(upstream, own, names[0])


def _fits(one: PartitionSet, other: PartitionSet) -> bool:
    return one == other or (isinstance(one, TimeSet) and isinstance(other, TimeSet))


def _dimensions(partitions: PartitionSet) -> dict[str, PartitionSet]:
    return partitions.dimensions if isinstance(partitions, Multi) else {"": partitions}


def _by_time(upstream: TimeSet[Any], own: TimeSet[Any], partition: Partition) -> Partition | list[Partition]:
    key = own.read(partition)
    found, around = upstream.over(own, key, key), isinstance(upstream, _AROUND.get(type(own), ()))
    if not found and (around or type(upstream) is type(own)):
        return check_held(upstream, partition)
    # The sets alone say whether it is one, so that no week in twelve reaches a function as something else.
    return cast(Partition, found[0]) if around else list(found)


def _strangers(upstream: PartitionSet, own: PartitionSet) -> PartitionError:
    return PartitionError(f"expected sets that have to do with each other, got: {own!r} made from {upstream!r}")
