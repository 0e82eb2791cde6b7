"""How fresh the value of an asset's partition is, by the rows of the store and the definitions of the code."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.run import MaterializationStatus
from flowstone.core.staleness import Known, Place, Stale, Staleness, staleness
from flowstone.errors import PartitionError
from flowstone.lineage.store import inputs_of
from flowstone.runs.records import Materialization, materialization_of
from flowstone.runs.services import Services
from flowstone.runs.store import latest
from flowstone.state.connection import Connection

__all__ = ["AssetState", "Making", "read_state", "state_of", "statuses"]

_MAKING = """
    select m.code_version, r.source_kind, r.source_name from materialization m join run r on r.run_id = m.run_id
    where m.run_id = :run_id and m.asset = :asset
"""
_NEWEST = """
    select * from materialization where asset = :asset and partition = :partition
    order by case when status = 'running' then 0 else 1 end, id desc limit 1
"""


@dataclass(frozen=True, slots=True)
class Making:
    """How the newest valid value was made: by which run, who asked for that, and with which version of the code."""

    row: Materialization
    source_kind: str
    source_name: str | None
    code_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetState:
    """How an asset's partition stands.

    Attributes:
        stale: whether its value is not what the code and the dependencies would make now, or there is none.
        reason: why it is stale, else None; `because` the place of the dependency that made it so.
        problem: what is wrong with the mapping to a dependency, where something is.
        made: how its newest valid value was made; None when there is none.
        newest: the row that is worked on, else its newest, whatever that came to; None when no run was ever asked for.
    """

    asset: Asset
    partition: Partition
    stale: bool
    reason: Staleness | None
    because: Place | None
    problem: str | None
    made: Making | None
    newest: Materialization | None

    @property
    def status(self) -> str:
        """In one word: the status of the newest row while that is no success, else `fresh` or `stale`."""
        if self.newest is not None and self.newest.status is not MaterializationStatus.SUCCESS:
            return self.newest.status.value
        return "stale" if self.stale else "fresh"


def state_of(services: Services, asset: str, partition: Partition = None) -> AssetState:
    """How an asset's partition stands now.

    Raises:
        AssetNotFound, PartitionError: the request makes no sense.
    """
    catalog, now = services.catalog, services.clock.now()
    read = catalog.read_partition(catalog.asset(asset).name, partition)
    return services.database.read(lambda connection: read_state(connection, catalog, asset, read, now))


def statuses(services: Services, selection: str = "*", partition: object = None) -> dict[str, str]:
    """How each asset of a selection stands for a partition, in one word, as a drawing of the graph shows it.

    Assets of which it is no partition are left out; text is read by the set of each.

    Raises:
        AssetNotFound, ValidationError: it is no selection.
    """
    catalog, now = services.catalog, services.clock.now()

    def read(connection: Connection) -> dict[str, str]:
        found = {}
        for name in catalog.select(selection):
            with suppress(PartitionError):
                own = catalog.read_partition(name, partition)
                found[name] = read_state(connection, catalog, name, own, now).status
        return found

    return services.database.read(read)


def read_state(
    connection: Connection, catalog: Catalog, name: str, partition: Partition, now: datetime
) -> AssetState:
    """The same, in a transaction of the caller's; the partition is one of the asset's."""
    asset, encoded = catalog.asset(name), encode_partition(partition)
    made = _making(connection, name, encoded)
    known, problem = None, None
    if made is not None and made.row.completed_at is not None:
        inputs = inputs_of(connection, made.row.run_id, name)
        known = Known(
            made.code_version,
            made.row.completed_at,
            {(each.asset, each.partition): each.data_version for each in inputs},
        )
    try:
        upstream = [] if known is None else _upstream(connection, catalog, asset, partition, now)
        stale = staleness(
            known, code_version=asset.code_version, upstream=upstream, freshness=asset.freshness, now=now
        )
    except PartitionError as error:
        stale, problem = Stale(Staleness.UPSTREAM_NEVER_MATERIALIZED), str(error)
    newest = connection.execute(_NEWEST, asset=name, partition=encoded)
    return AssetState(
        asset=asset,
        partition=partition,
        stale=stale is not None,
        reason=None if stale is None else stale.reason,
        because=None if stale is None else stale.because,
        problem=problem,
        made=made,
        newest=materialization_of(newest[0]) if newest else None,
    )


def _making(connection: Connection, asset: str, encoded: str) -> Making | None:
    row = latest(connection, asset, encoded)
    if row is None:
        return None
    found = connection.execute(_MAKING, run_id=row.run_id, asset=asset)[0]
    return Making(row, found.source_kind, found.source_name, found.code_version)


def _upstream(
    connection: Connection, catalog: Catalog, asset: Asset, partition: Partition, now: datetime
) -> list[tuple[Place, str | None]]:
    """What the partition would be made from now, each with the data version that is there."""
    places: list[tuple[Place, str | None]] = []
    for name in asset.depends_on:
        wanted = catalog.upstream_partitions(asset.name, name, partition, now=now)
        for key in wanted if isinstance(wanted, list) else [wanted]:
            encoded = encode_partition(key)
            found = latest(connection, name, encoded)
            version = None if found is None or found.stored is None else found.stored.data_version
            places.append(((name, encoded), version))
    return places
