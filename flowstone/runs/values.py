"""Whether values are there: by the rows, and by the IO manager that a row names, without loading them."""

from __future__ import annotations

from flowstone.core.partitions import Partition, encode_partition
from flowstone.runs.execution import is_stored
from flowstone.runs.services import Services
from flowstone.runs.store import latest

__all__ = ["exists"]


def exists(services: Services, asset: str, partition: Partition = None) -> bool:
    """Whether an asset has a valid value for a partition, and its IO manager still has it.

    Raises:
        AssetNotFound, PartitionError: the request makes no sense.
        IOManagerError: the manager can't be asked, or is not configured.
    """
    read = services.catalog.read_partition(services.catalog.asset(asset).name, partition)
    encoded = encode_partition(read)
    found = services.database.read(lambda connection: latest(connection, asset, encoded))
    return found is not None and found.stored is not None and is_stored(services, asset, read, found.stored)
