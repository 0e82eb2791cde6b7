"""Whether values are valid: anyone may say that those of an asset's partition are not, and then there are none.

An invalidation is a row of its own, which names the newest event of its asset's partition: what is made afterwards is
valid again. No finished row is touched.
"""

from __future__ import annotations

from datetime import datetime

from flowstone.audit.store import record
from flowstone.audit.who import because, who
from flowstone.core.partitions import Partition, encode_partition
from flowstone.runs.services import Services
from flowstone.runs.store import latest
from flowstone.state.connection import Connection

__all__ = ["invalidate", "is_valid"]

_INVALIDATE = """
    insert into invalidation (asset, partition, event, actor, reason, at)
    select :asset, :partition, max(id), :actor, :reason, :now from asset_event
    where asset = :asset and partition = :partition
"""


def is_valid(services: Services, asset: str, partition: Partition = None) -> bool:
    """Whether an asset has a valid value for a partition, by its rows; the value itself is not looked at.

    Raises:
        AssetNotFound, PartitionError: the request makes no sense.
    """
    encoded = encode_partition(services.catalog.read_partition(services.catalog.asset(asset).name, partition))
    return services.database.read(lambda connection: latest(connection, asset, encoded)) is not None


def invalidate(
    services: Services, asset: str, partition: Partition, *, by: str | None = None, reason: str | None = None
) -> bool:
    """Say that the values of an asset's partition made so far are not valid; False when there was none.

    Raises:
        AssetNotFound, PartitionError, ValidationError: the request makes no sense.
    """
    encoded = encode_partition(services.catalog.read_partition(services.catalog.asset(asset).name, partition))
    actor, words, now = who(by), because(reason), services.clock.now()
    return services.database.transact(lambda connection: _invalidate(connection, asset, encoded, actor, words, now))


def _invalidate(
    connection: Connection, asset: str, partition: str, actor: str, reason: str | None, now: datetime
) -> bool:
    if latest(connection, asset, partition) is None:
        return False
    connection.execute(_INVALIDATE, asset=asset, partition=partition, actor=actor, reason=reason, now=now)
    details = {"partition": partition, "reason": reason}
    record(connection, "asset.invalidated", actor=actor, resource=f"asset:{asset}", details=details, at=now)
    return True
