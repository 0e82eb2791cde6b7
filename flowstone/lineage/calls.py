"""Calls about lineage: what was made from what. From any thread."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress

from flowstone.core.catalog import Catalog
from flowstone.core.checks import check_int
from flowstone.core.partitions import Partition, decode_partition, encode_partition
from flowstone.errors import AssetNotFound
from flowstone.lineage import store
from flowstone.lineage.node import LineageNode, Place
from flowstone.state.connection import Connection
from flowstone.state.database import Database

__all__ = ["Lineage"]

Query = Callable[[Connection, Place, int | None], builtins.list[tuple[Place, int]]]


class Lineage:
    """The group of calls `runtime.lineage`.

    Each gives nodes with `asset partition depth`, the start left out, each once with its shortest depth, by depth and
    then by name. They tell of the newest values; what earlier runs had read is kept with those runs. What is unknown
    has no lineage.
    """

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def upstream(self, asset: str, partition: Partition = None, *, depth: int | None = None) -> list[LineageNode]:
        """What a value was made from, what that was made from, and so on, for up to `depth` steps.

        Raises:
            PartitionError: the partition is no legal one, or the asset's set does not hold it.
            ValidationError: the depth is no int, or below 1.
        """
        return self._walk(store.upstream, asset, partition, depth)

    def downstream(self, asset: str, partition: Partition = None, *, depth: int | None = None) -> list[LineageNode]:
        """What was made from a value, what was made from that, and so on, for up to `depth` steps.

        Raises:
            PartitionError: the partition is no legal one, or the asset's set does not hold it.
            ValidationError: the depth is no int, or below 1.
        """
        return self._walk(store.downstream, asset, partition, depth)

    def impact(self, asset: str, partition: Partition = None, *, depth: int | None = None) -> list[LineageNode]:
        """What would have to be made again if a value changed: all that is downstream of it.

        Raises:
            PartitionError: the partition is no legal one, or the asset's set does not hold it.
            ValidationError: the depth is no int, or below 1.
        """
        return self._walk(store.downstream, asset, partition, depth)

    def _walk(self, query: Query, asset: str, partition: Partition, depth: int | None) -> list[LineageNode]:
        if depth is not None:
            check_int("depth", depth, minimum=1)
        with suppress(AssetNotFound):
            partition = self._catalog.read_partition(self._catalog.asset(asset).name, partition)
        start = (asset, encode_partition(partition))
        found = self._database.read(lambda connection: query(connection, start, depth))
        return [LineageNode(name, decode_partition(stored), steps) for (name, stored), steps in found]
