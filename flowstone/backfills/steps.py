"""The steps of a backfill: settle the partitions whose runs have ended, ask for the next runs, conclude.

A step locks the backfill's row, so that of several processes one takes it at a time. Whatever it asks for has a run key
made from the backfill's id and the partition: a step that is done again asks for nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flowstone.audit.store import record
from flowstone.backfills import store
from flowstone.backfills.backfill import FINISHED_BACKFILLS, BackfillStatus, PartitionStatus, concluded
from flowstone.core.partitions import decode_partition
from flowstone.core.run import FINISHED_RUNS, RunRequest, RunStatus, Source, SourceKind
from flowstone.core.run_key import backfill_key
from flowstone.errors import FlowstoneError, RunNotFound
from flowstone.failpoints import failpoint
from flowstone.runs import decisions
from flowstone.runs.ledger import error_text
from flowstone.runs.requests import resolve
from flowstone.runs.services import Services
from flowstone.runs.store import Requested, free_key, latest, request
from flowstone.state.connection import Connection, Row

__all__ = ["AGENT", "Stepped", "settle", "take"]

AGENT = "backfill"
"""Who acts, in the audit, when a backfill goes on by itself."""

LOOKED_AT = 200
"""Partitions at which one step looks, so that no transaction is long."""

_SETTLED = {
    RunStatus.SUCCESS: PartitionStatus.SUCCESS,
    RunStatus.FAILED: PartitionStatus.FAILED,
    RunStatus.CANCELLED: PartitionStatus.CANCELLED,
}


@dataclass(slots=True)
class Stepped:
    """What one step did: the runs that it asked for, those that are under way, and what the backfill came to.

    `more` says that there is more to look at before anything ends.
    """

    requested: list[Requested] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    finished: BackfillStatus | None = None
    more: bool = False


def take(connection: Connection, services: Services, identifier: str, now: datetime) -> Stepped:
    """Do what is to be done next for a backfill.

    Raises:
        BackfillNotFound: there is no such backfill.
    """
    backfill, stepped = store.locked(connection, identifier), Stepped()
    if backfill.status in FINISHED_BACKFILLS:
        return stepped
    busy = settle(connection, identifier, now, stepped)
    if backfill.status == BackfillStatus.RUNNING:
        _ask(connection, services, backfill, now, backfill.max_parallel - busy, stepped)
    status = None if stepped.under_way or stepped.more else concluded(store.counts(connection, identifier))
    if status is not None:
        store.set_status(connection, backfill, status, now)
        counts = store.counts(connection, identifier)
        record(
            connection, "backfill.finished", actor=AGENT, resource=f"backfill:{identifier}",
            details={"status": status.value, **counts}, at=now,
        )
        stepped.finished = status
    failpoint("backfill.before_step")
    return stepped


def settle(connection: Connection, identifier: str, now: datetime, stepped: Stepped) -> int:
    """Settle the partitions whose runs have ended; how many others are queued or running.

    A run that waits for people takes no place: the next partitions go on meanwhile.
    """
    busy = 0
    for row in store.under_way(connection, identifier):
        if row.status in FINISHED_RUNS:
            status, error = _SETTLED[RunStatus(row.status)], row.error or row.reason
            store.set_partition(connection, row.id, status, run_id=row.run_id, error=error, now=now)
        elif row.status is None:
            error = "its run was pruned before it was settled"
            store.set_partition(connection, row.id, PartitionStatus.FAILED, run_id=row.run_id, error=error, now=now)
        else:
            stepped.under_way.add(row.run_id)
            busy += row.status != RunStatus.WAITING_APPROVAL
    return busy


def _ask(
    connection: Connection, services: Services, backfill: Row, now: datetime, free: int, stepped: Stepped
) -> None:
    """Ask for up to `free` runs, passing over what was made before."""
    if free <= 0:
        return
    rows = store.pending(connection, backfill.backfill_id, LOOKED_AT)
    for row in rows:
        _ask_for(connection, services, backfill, row, now, stepped)
        if len(stepped.requested) == free:
            return
    stepped.more = stepped.more or len(rows) == LOOKED_AT


def _ask_for(
    connection: Connection, services: Services, backfill: Row, row: Row, now: datetime, stepped: Stepped
) -> None:
    try:
        if not backfill.force and _is_made(connection, services, backfill.asset, row.partition):
            store.set_partition(connection, row.id, PartitionStatus.SKIPPED, run_id=row.run_id, now=now)
            return
        requested = _request(connection, services, backfill, row, now)
    # The partition sets of an asset may be the user's, and the definitions others than when the backfill began.
    except FlowstoneError as error:
        status, told = PartitionStatus.FAILED, error_text(error)
        store.set_partition(
            connection, row.id, status, run_id=row.run_id, retry_of=row.retry_of, error=told, now=now
        )
        return
    if requested.conflict:
        told = f"its run key is taken by run {requested.run_id}, which means something else"
        store.set_partition(connection, row.id, PartitionStatus.FAILED, error=told, now=now)
        return
    store.set_partition(connection, row.id, PartitionStatus.RUNNING, run_id=requested.run_id)
    stepped.more = stepped.more or not requested.created  # a run that was there already may have ended
    stepped.requested.append(requested)
    stepped.under_way.add(requested.run_id)


def _is_made(connection: Connection, services: Services, asset: str, partition: str) -> bool:
    """Whether each asset of the selection has a valid value for a partition."""
    return all(latest(connection, name, partition) is not None for name in services.catalog.select(asset))


def _request(
    connection: Connection, services: Services, backfill: Row, row: Row, now: datetime
) -> Requested:
    partition, identifier = decode_partition(row.partition), backfill.backfill_id
    key = backfill_key(identifier, partition)
    if row.retry_of is not None:
        try:
            return decisions.retry(connection, services, row.retry_of, actor=AGENT, now=now)
        except RunNotFound:
            # It was pruned since: there is nothing left that a retry could repeat.
            free_key(connection, key)
    resolved = resolve(
        services.catalog,
        RunRequest(backfill.asset, partition, tags={"backfill": identifier}),
        default_key=key,
        source=Source(SourceKind.BACKFILL, identifier),
        force=bool(backfill.force),
    )
    return request(connection, resolved, identity=services.identity, now=now)
