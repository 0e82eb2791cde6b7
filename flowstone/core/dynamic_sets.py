"""Partition sets whose keys are added while the program runs: the names in the code, the keys in the store.

A catalog binds the sets of its assets to what it knows of the keys; the store is read by whoever keeps that up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowstone.core.names import check_name
from flowstone.core.partition_sets import PartitionSet
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.product_sets import Multi
from flowstone.core.time_sets import split_range
from flowstone.errors import PartitionError, ValidationError, did_you_mean, shown

__all__ = ["Dynamic", "DynamicKeys", "bind", "check_dynamic_key", "dynamic_names"]

LONGEST = 255
"""Characters of a key."""


class DynamicKeys:
    """The keys of all dynamic sets as they were after so many steps of adding and removing."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, ...]] = {}
        self.steps = 0

    def fill(self, keys: Mapping[str, Iterable[str]], *, steps: int = 0) -> None:
        """Know these keys from now on, each set's in their order, and no others."""
        self.steps = steps
        # One assignment, so that readers in other threads see all of the old or all of the new ones.
        self._keys = {name: tuple(members) for name, members in keys.items()}

    def of(self, name: str) -> tuple[str, ...]:
        """The keys of a set."""
        return self._keys.get(name, ())


@dataclass(frozen=True, slots=True, init=False)
class Dynamic:
    """Keys, which are texts, that `runtime.partitions.add(name, …)` adds and `remove` removes; durable, in that order.

    Sets of one name have the same keys. As a value of its own, bound to no runtime, it holds none.

    Raises:
        ValidationError: the name is no legal one.

    >>> "acme" in Dynamic("customers")
    False
    """

    name: str
    _known: DynamicKeys = field(repr=False, compare=False)

    def __init__(self, name: str, *, known: DynamicKeys | None = None) -> None:
        object.__setattr__(self, "name", check_name("partition set", name))
        object.__setattr__(self, "_known", known or DynamicKeys())

    def __contains__(self, value: object) -> bool:
        return type(value) is str and value in self._known.of(self.name)

    def keys(self, first: Any = None, last: Any = None) -> list[Partition]:
        """The keys in the order in which they were added, from `first` to `last`, both inclusive.

        Raises:
            PartitionError: one of them is no key of the set.
        """
        members = self._known.of(self.name)
        begin = 0 if first is None else members.index(self.read(first))
        end = len(members) if last is None else members.index(self.read(last)) + 1
        return list(members[begin:end])

    def key_of(self, instant: datetime) -> Partition:
        """Nothing: added keys are not those of instants.

        Raises:
            PartitionError: always.
        """
        raise PartitionError(f"{self!r} has no partition of an instant; give the partition, or a partition rule")

    def read(self, value: object) -> str:
        """The key that a text is.

        Raises:
            PartitionError: it was not added, or removed again.
        """
        if type(value) is str and value in self:
            return value
        hint = did_you_mean(value, self._known.of(self.name)) if isinstance(value, str) else ""
        add = f"runtime.partitions.add({self.name!r}, …) adds it"
        raise PartitionError(f"{self!r} does not hold {shown(value)}{hint or f'; {add}'}", partition=value)

    def range(self, text: str) -> list[Partition]:
        """The keys of "a..b" in the order in which they were added, or a single key.

        Raises:
            PartitionError: an end is no key of the set, or the range goes down.
        """
        ends = None if text in self else split_range(text)
        if ends is None:
            return [self.read(text)]
        keys = self.keys(*ends)
        if not keys:
            raise PartitionError(f"expected a range in the order in which keys were added, got: {shown(text)}")
        return keys


def bind(partitions: PartitionSet | None, known: DynamicKeys) -> PartitionSet | None:
    """The set as it is where these keys are known."""
    if isinstance(partitions, Dynamic):
        return Dynamic(partitions.name, known=known)
    if isinstance(partitions, Multi) and any(isinstance(each, Dynamic) for each in partitions.sets):
        return Multi(**{name: bind(each, known) or each for name, each in partitions.dimensions.items()})
    return partitions


def dynamic_names(partitions: PartitionSet | None) -> set[str]:
    """The names of the dynamic sets in a set."""
    each = partitions.sets if isinstance(partitions, Multi) else (partitions,)
    return {one.name for one in each if isinstance(one, Dynamic)}


def check_dynamic_key(key: object) -> str:
    """A key that may be added.

    Raises:
        ValidationError: it is no text, empty, too long, or no legal partition.
    """
    if type(key) is not str or not 0 < len(key) <= LONGEST:
        raise ValidationError(f"expected a key to be text of 1 to {LONGEST} characters, got: {shown(key)}")
    encode_partition(key)
    return key
