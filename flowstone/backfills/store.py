"""The rows of backfills. Every function works inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flowstone.backfills.backfill import (
    BACKFILL_STEPS,
    FINISHED_BACKFILLS,
    Backfill,
    BackfillPartition,
    BackfillStatus,
    PartitionStatus,
)
from flowstone.core.partitions import decode_partition
from flowstone.core.run import step
from flowstone.errors import BackfillNotFound
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant
from flowstone.state.page import Page, page

__all__ = [
    "counts",
    "due",
    "find",
    "insert",
    "list_backfills",
    "locked",
    "partitions",
    "pending",
    "set_partition",
    "set_status",
    "under_way",
]

_INSERT = """
    insert into backfill (
        backfill_id, asset, status, max_parallel, force, fingerprint, started_by, created_at
    ) values (:id, :asset, 'running', :max_parallel, :force, :fingerprint, :by, :now)
    on conflict (backfill_id) do nothing
"""
_INSERT_PARTITION = """
    insert into backfill_partition (backfill_id, partition, status) values (:id, :partition, 'pending')
"""
_COUNTS = "select status, count(*) as n from backfill_partition where backfill_id = :id group by status"
_PENDING = """
    select * from backfill_partition where backfill_id = :id and status = 'pending' order by id limit :limit
"""
_UNDER_WAY = """
    select p.id, p.partition, p.run_id, r.status, r.error, r.reason
    from backfill_partition p left join run r on r.run_id = p.run_id
    where p.backfill_id = :id and p.status = 'running' order by p.id
"""
_DUE = """
    select b.backfill_id from backfill b where b.status in ('running', 'paused') and (
        exists (
            select 1 from backfill_partition p left join run r on r.run_id = p.run_id
            where p.backfill_id = b.backfill_id and p.status = 'running'
            and (r.status is null or r.status in ('success', 'failed', 'cancelled'))
        )
        or b.status = 'running' and exists (
            select 1 from backfill_partition p where p.backfill_id = b.backfill_id and p.status = 'pending'
        ) and b.max_parallel > (
            select count(*) from backfill_partition p join run r on r.run_id = p.run_id
            where p.backfill_id = b.backfill_id and p.status = 'running' and r.status in ('queued', 'running')
        )
    ) order by b.id
"""
_SET_PARTITION = """
    update backfill_partition set status = :status, run_id = :run_id, retry_of = :retry_of, error = :error,
    completed_at = :completed_at where id = :id
"""
_SET_STATUS = "update backfill set status = :status, completed_at = :completed_at where backfill_id = :id"


def insert(
    connection: Connection,
    identifier: str,
    asset: str,
    partitions: Sequence[str],
    *,
    max_parallel: int,
    force: bool,
    fingerprint: str,
    by: str,
    now: datetime,
) -> bool:
    """Write a backfill and its partitions (stored form); False when there is one of this id."""
    backfill = {"id": identifier, "asset": asset, "max_parallel": max_parallel, "force": force}
    if not connection.change(_INSERT, backfill, fingerprint=fingerprint, by=by, now=now):
        return False
    connection.executemany(_INSERT_PARTITION, ({"id": identifier, "partition": each} for each in partitions))
    return True


def locked(connection: Connection, identifier: str) -> Row:
    """The row of a backfill, which stays as it is until the transaction ends.

    Raises:
        BackfillNotFound: there is no such backfill.
    """
    sql = "select * from backfill where backfill_id = :id" + connection.lock("backfill")
    rows = connection.execute(sql, id=identifier)
    if not rows:
        raise BackfillNotFound.named(identifier)
    return rows[0]


def find(connection: Connection, identifier: str) -> Backfill:
    """The backfill of this id, with its counts.

    Raises:
        BackfillNotFound: there is no such backfill.
    """
    rows = connection.execute("select * from backfill where backfill_id = :id", id=identifier)
    if not rows:
        raise BackfillNotFound.named(identifier)
    return _backfill_of(connection, rows[0])


def list_backfills(
    connection: Connection, *, status: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Backfill]:
    """Backfills with their counts, newest first.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"status": status}
    return page(
        connection, "backfill", lambda row: _backfill_of(connection, row), filters, limit=limit, cursor=cursor
    )


def partitions(connection: Connection, identifier: str, status: str | None = None) -> tuple[BackfillPartition, ...]:
    """What became of each partition of a backfill, in the order in which they are made."""
    wanted = "" if status is None else " and status = :status"
    sql = f"select * from backfill_partition where backfill_id = :id{wanted} order by id"
    given = {"id": identifier} if status is None else {"id": identifier, "status": status}
    return tuple(_partition_of(row) for row in connection.execute(sql, given))


def counts(connection: Connection, identifier: str) -> dict[str, int]:
    """How many partitions of a backfill are in each state."""
    return {row.status: row.n for row in connection.execute(_COUNTS, id=identifier)}


def pending(connection: Connection, identifier: str, limit: int) -> list[Row]:
    """The next partitions for which nothing was asked yet."""
    return connection.execute(_PENDING, id=identifier, limit=limit)


def under_way(connection: Connection, identifier: str) -> list[Row]:
    """The partitions for which a run was asked, with what their runs came to; a run that is gone has no status."""
    return connection.execute(_UNDER_WAY, id=identifier)


def due(connection: Connection) -> tuple[tuple[str, ...], dict[str, str]]:
    """The ids of the backfills for which something is to be done, and, by run id, whose runs are under way."""
    sql = "select run_id, backfill_id from backfill_partition p where status = 'running' and exists ({})"
    is_open = "select 1 from backfill b where b.backfill_id = p.backfill_id and b.status in ('running', 'paused')"
    runs = {row.run_id: row.backfill_id for row in connection.execute(sql.format(is_open))}
    return tuple(row.backfill_id for row in connection.execute(_DUE)), runs


def set_partition(
    connection: Connection,
    row: int,
    status: PartitionStatus,
    *,
    run_id: str | None = None,
    retry_of: str | None = None,
    error: str | None = None,
    now: datetime | None = None,
) -> None:
    """Write what became of a partition; `now` when it is settled by that."""
    connection.execute(
        _SET_PARTITION, id=row, status=status, run_id=run_id, retry_of=retry_of, error=error, completed_at=now
    )


def set_status(connection: Connection, row: Row, status: BackfillStatus, now: datetime) -> None:
    """Write what became of a backfill; it stays as it is when that is its state already.

    Raises:
        StaleState: the step is not allowed.
    """
    if status != row.status:
        after = step(BACKFILL_STEPS, BackfillStatus(row.status), status)
        completed_at = now if after in FINISHED_BACKFILLS else None
        connection.execute(_SET_STATUS, id=row.backfill_id, status=after, completed_at=completed_at)


def _backfill_of(connection: Connection, row: Row) -> Backfill:
    by_status = counts(connection, row.backfill_id)
    number = {status: by_status.get(status, 0) for status in PartitionStatus}
    return Backfill(
        id=row.backfill_id,
        asset=row.asset,
        status=BackfillStatus(row.status),
        total=sum(number.values()),
        succeeded=number[PartitionStatus.SUCCESS],
        failed=number[PartitionStatus.FAILED],
        skipped=number[PartitionStatus.SKIPPED],
        cancelled=number[PartitionStatus.CANCELLED],
        running=number[PartitionStatus.RUNNING],
        pending=number[PartitionStatus.PENDING],
        max_parallel=row.max_parallel,
        force=bool(row.force),
        started_by=row.started_by,
        created_at=instant(row.created_at),
        completed_at=instant(row.completed_at),
    )


def _partition_of(row: Row) -> BackfillPartition:
    return BackfillPartition(
        partition=decode_partition(row.partition),
        status=PartitionStatus(row.status),
        run_id=row.run_id,
        error=row.error,
        completed_at=instant(row.completed_at),
    )
