"""What a queued run waits for: an instant, an earlier run, a partition in use, a slot of a limit, or a free place."""

from __future__ import annotations

from datetime import UTC, datetime

from flowstone.core.partitions import decode_partition, partition_text
from flowstone.core.run import RunStatus
from flowstone.runs.leases import slots_lacking
from flowstone.runs.ledger import asset_rows
from flowstone.runs.limits import Slots
from flowstone.runs.records import Run
from flowstone.runs.services import Services
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant

__all__ = ["waits_for"]

_RUN = "select * from run where run_id = :run_id"
_EARLIER = """
    select run_id from run where source_kind = :kind and source_name = :name and id < :id
    and status in ('queued', 'running', 'waiting_approval') order by id limit 1
"""
_HOLDER = """
    select r.run_id, r.status, m.asset, m.partition from materialization own
    join materialization m on m.asset = own.asset and m.partition = own.partition
    join run r on r.run_id = m.run_id
    where own.run_id = :run_id and own.status = 'pending'
    and (r.status = 'running' and m.status in ('pending', 'running') or m.busy is not null) order by m.id limit 1
"""
_IN_PROGRESS = "select count(*) as n from run where status = 'running' and boot = :boot"


def waits_for(services: Services, run: Run) -> str | None:
    """What a run waits for, in words; None when it is not queued, or is about to be taken up."""
    if run.status is not RunStatus.QUEUED:
        return None
    return services.database.read(lambda connection: _waits_for(connection, services, run.run_id))


def _waits_for(connection: Connection, services: Services, run_id: str) -> str | None:
    rows = connection.execute(_RUN, run_id=run_id)
    if not rows or rows[0].status != RunStatus.QUEUED:
        return None
    run, now = rows[0], services.clock.now()
    return (
        _due(run, now)
        or _behind(connection, run)
        or _held(connection, run)
        or _limited(connection, services, run, now)
        or _crowded(connection, services)
    )


def _due(run: Row, now: datetime) -> str | None:
    ready: datetime | None = instant(run.ready_at)
    if ready is None or ready <= now:
        return None
    return f"it is due at {ready.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _behind(connection: Connection, run: Row) -> str | None:
    about = {"kind": run.source_kind, "name": run.source_name, "id": run.id}
    rows = connection.execute(_EARLIER, about) if run.behind else []
    return f"run {rows[0].run_id} of {run.source_kind} {run.source_name} has to end first" if rows else None


def _held(connection: Connection, run: Row) -> str | None:
    for row in connection.execute(_HOLDER, run_id=run.run_id):
        place = partition_text(decode_partition(row.partition))
        what = f"{row.asset} for {place}" if place else row.asset
        if row.run_id == run.run_id:
            return f"the call of its earlier attempt at {what} still goes on"
        if row.status != RunStatus.RUNNING:
            return f"run {row.run_id} works on {what} no more, but its call still goes on"
        return f"run {row.run_id} works on {what}"
    return None


def _limited(connection: Connection, services: Services, run: Row, now: datetime) -> str | None:
    slots = Slots(connection, services.limits, taking=False)
    limit = slots_lacking(slots, services.catalog.graph, run, asset_rows(connection, run.run_id), now)
    return None if limit is None else f"{limit.name} is full: {slots.used(limit)} of {limit.size} in use"


def _crowded(connection: Connection, services: Services) -> str | None:
    count = connection.execute(_IN_PROGRESS, boot=services.boot)[0].n
    if count < services.max_concurrency:
        return None
    return f"{count} runs are in progress, as many as max_concurrency lets"
