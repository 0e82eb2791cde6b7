"""All assets of a runtime, as one graph: selections, partitions, and what is wrong with the whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

from flowstone.core.asset import Asset
from flowstone.core.dynamic_sets import DynamicKeys, bind, dynamic_names
from flowstone.core.graph import Graph
from flowstone.core.mapping import check_mapping, upstream_partitions
from flowstone.core.partition_sets import PartitionSet
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.selection import select
from flowstone.errors import AssetNotFound, CycleError, FlowstoneError, PartitionError, ValidationError, did_you_mean
from flowstone.zones import zone

__all__ = ["Catalog"]

REMEMBERED = 100_000
"""Selections that one catalog remembers."""


class Catalog:
    """The assets of one or more pipelines, resolved against each other.

    Raises:
        ValidationError: two assets have the same name.
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        self.assets: dict[str, Asset] = {}
        for asset in assets:
            if asset.name in self.assets:
                first, second = self.assets[asset.name].location, asset.location
                raise ValidationError(f"asset {asset.name!r} is defined twice: at {first} and at {second}")
            self.assets[asset.name] = asset
        self.dynamic = DynamicKeys()
        self._sets = {name: bind(asset.partitions, self.dynamic) for name, asset in self.assets.items()}
        self._tags = {name: asset.tags for name, asset in self.assets.items()}
        self._selections: dict[str, tuple[str, ...]] = {}
        self.graph = Graph({name: asset.depends_on for name, asset in self.assets.items()})

    def problems(self) -> Iterator[FlowstoneError]:
        """What is wrong between the assets: unknown dependencies, circles, partitions that do not fit."""
        for asset in self.assets.values():
            for name in asset.depends_on:
                if name not in self.assets:
                    yield AssetNotFound(
                        f"{asset.location}: asset {asset.name!r} depends on {name!r}, which is not defined"
                        f"{did_you_mean(name, self.assets)}",
                        asset=asset.name,
                        name=name,
                    )
                else:
                    yield from self._mapping_problem(asset, self.assets[name])
        for path in self.graph.cycles():
            cycle = CycleError.along(path)
            yield CycleError(f"{self.assets[path[0]].location}: {cycle}", path=path)

    def asset(self, name: str) -> Asset:
        """The asset of this name.

        Raises:
            AssetNotFound: there is none; suggests the nearest.
        """
        if name not in self.assets:
            raise AssetNotFound.named(name, self.assets)
        return self.assets[name]

    def select(self, text: str) -> tuple[str, ...]:
        """The assets that a selection names, in the order of the graph.

        Raises:
            AssetNotFound: it names an unknown one.
            ValidationError: it is no selection.
        """
        # A catalog never changes, and every tick and poll selects: the same few texts, again and again.
        chosen = self._selections.get(text) if type(text) is str else None
        if chosen is None:
            chosen = select(self.graph, self._tags, text)
            if len(self._selections) < REMEMBERED:
                self._selections[text] = chosen
        return chosen

    def partition_set(self, text: str) -> PartitionSet | None:
        """The partition set of a selection: that of its last asset that has one."""
        sets = [self._sets[name] for name in self.select(text)]
        return next((partitions for partitions in reversed(sets) if partitions is not None), None)

    def read_partition(self, text: str, value: object) -> Partition:
        """The partition that a value means for a selection: read by its set, held by the sets of all its assets.

        Assets without a set take any legal partition. A text for those is read by the set of what they depend on, if
        that one holds it: a report made from days takes "2025-01-15" as the day that it is.

        Raises:
            AssetNotFound: the selection names an unknown asset.
            PartitionError: the value is no legal partition, or a set does not hold it.
        """
        selection = self.select(text)
        read: Any = value
        for name in reversed(selection):
            partitions = self._sets[name]
            if partitions is not None:
                read = self._read(name, partitions, read)
        if read is value and type(value) is str:
            read = self._read_upstream(selection[-1], value)
        encode_partition(read)
        return cast(Partition, read)

    def default_partition(self, text: str, instant: datetime, timezone: str) -> Partition:
        """The partition of an instant: by the selection's set where it has one, else the date in that zone.

        Raises:
            PartitionError: the set does not hold the instant.
        """
        partitions = self.partition_set(text)
        if partitions is not None:
            return partitions.key_of(instant)
        return instant.astimezone(zone(timezone)).date()

    def upstream_partitions(
        self, asset: str, dependency: str, partition: Partition, *, now: datetime | None = None
    ) -> Partition | list[Partition]:
        """Which partition, or list of partitions, of a dependency an asset's partition is made from, as of an instant.

        Raises:
            PartitionError: the dependency's set has none for it, or their sets have nothing to do with each other.
        """
        upstream, own = self._sets[dependency], self._sets[asset]
        mapping = self.assets[asset].mapping.get(dependency)
        try:
            if mapping is None:
                return upstream_partitions(upstream, own, partition)
            return mapping.partitions(upstream, own, partition, now)
        except PartitionError as error:
            raise PartitionError(f"asset {asset!r} from {dependency!r}: {error}", **error.context) from error

    def dynamic_sets(self) -> frozenset[str]:
        """The names of the dynamic partition sets that the assets have."""
        return frozenset(name for asset in self.assets.values() for name in dynamic_names(asset.partitions))

    def _read_upstream(self, name: str, value: str) -> Partition:
        for upper in reversed(self.graph.upstream(name)):
            partitions = self._sets[upper]
            if partitions is not None:
                with suppress(PartitionError):
                    return partitions.read(value)
        return value

    @staticmethod
    def _read(name: str, partitions: PartitionSet, value: object) -> Partition:
        try:
            return partitions.read(value)
        except PartitionError as error:
            raise PartitionError(f"asset {name!r}: {error}", asset=name, **error.context) from error

    @staticmethod
    def _mapping_problem(asset: Asset, dependency: Asset) -> Iterator[FlowstoneError]:
        try:
            mapping = asset.mapping.get(dependency.name)
            check = check_mapping if mapping is None else mapping.check
            check(dependency.partitions, asset.partitions)
        except PartitionError as error:
            yield PartitionError(f"{asset.location}: asset {asset.name!r} from {dependency.name!r}: {error}")
