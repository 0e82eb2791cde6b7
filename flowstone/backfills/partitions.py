"""Which partitions a backfill is about: a range, keys or a partition set, read by the set of what is made. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from flowstone.core.catalog import Catalog
from flowstone.core.dynamic_sets import bind
from flowstone.core.partition_sets import Daily, PartitionSet
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.time_sets import split_range
from flowstone.errors import PartitionError, ValidationError, shown

__all__ = ["asked_partitions"]


def asked_partitions(catalog: Catalog, asset: str, given: object) -> tuple[Partition, ...]:
    """The partitions meant, each once, in the order given; those of a Python `set` in the order of their stored form.

    `given` is a range ("2025-01-01..2025-01-31", both ends included) or one key as text, one partition that is no text,
    an iterable of partitions or texts, or a partition set, of which all keys are meant.

    Raises:
        AssetNotFound: the selection names an unknown asset.
        PartitionError: a partition can't be read, or is not held by the sets of the assets selected; a range ends
            before it starts.
        ValidationError: there are none, or it is nothing of that kind.
    """
    read = [catalog.read_partition(asset, value) for value in _values(catalog, asset, given)]
    by_key = {encode_partition(partition): partition for partition in read}
    if not by_key:
        raise ValidationError(f"expected partitions to backfill {asset!r} for, got none: {shown(given)}")
    if isinstance(given, set | frozenset):
        return tuple(by_key[key] for key in sorted(by_key))
    return tuple(by_key.values())


def _values(catalog: Catalog, asset: str, given: Any) -> Iterable[object]:
    if isinstance(given, str):
        return _range(catalog, asset, given)
    if isinstance(given, tuple) and _is_held(catalog, asset, given):
        return [given]
    if isinstance(given, int | date | datetime):
        return [given]
    if isinstance(given, PartitionSet):
        return (bind(given, catalog.dynamic) or given).keys()
    if given is None or not isinstance(given, Iterable):
        expected = 'expected partitions to be a range such as "2025-01-01..2025-01-31", a list, or a partition set'
        raise ValidationError(f"{expected}, got: {shown(given)}")
    return list(given)


def _is_held(catalog: Catalog, asset: str, given: tuple[Any, ...]) -> bool:
    """Whether a tuple is one partition, of a set whose keys are tuples, and not a list of them."""
    held = _set_of(catalog, asset)
    return held is not None and given in held


def _range(catalog: Catalog, asset: str, text: str) -> Iterable[object]:
    held = _set_of(catalog, asset)
    if held is not None:
        return held.range(text)
    ends = split_range(text)
    if ends is None:
        return [text]
    try:
        # Without a set the partition of an instant is its date: so a range is one of days.
        return Daily().range(text)
    except PartitionError as error:
        message = f"{asset!r} has no partition set, so that a range is one of days; {error}"
        raise PartitionError(message, partition=text) from error


def _set_of(catalog: Catalog, asset: str) -> PartitionSet | None:
    """The partition set of a selection, else that of what its last asset is made from."""
    own = catalog.partition_set(asset)
    if own is not None:
        return own
    above = catalog.graph.upstream(catalog.select(asset)[-1])
    return next((held for name in reversed(above) if (held := catalog.assets[name].partitions) is not None), None)
