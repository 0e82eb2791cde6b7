"""How far the queue of runs has come: what is due, what is in progress, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowstone.core.run import MaterializationStatus
from flowstone.runs.leases import due_runs, held_by, slots_lacking
from flowstone.runs.ledger import asset_rows
from flowstone.runs.limits import Slots
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["Backlog", "backlog"]

_COUNTS = """
    select
        coalesce(sum(case when status = 'queued' and ready_at <= :now then 1 else 0 end), 0) as queued,
        coalesce(sum(case when status = 'running' then 1 else 0 end), 0) as running
    from run where status in ('queued', 'running')
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Runs that are due and wait, and runs in progress.

    `passed_over` is since when the longest of those is due that nothing but the dispatcher keeps from beginning.
    """

    queued: int
    running: int
    passed_over: datetime | None


def backlog(
    connection: Connection, *, now: datetime, since: datetime, services: Services | None = None
) -> Backlog:
    """The queue at `now`, as dispatchers see it; passed over is only what was due at `since` already.

    The limits of assets and pools are those of `services`.
    """
    slots = None if services is None else Slots(connection, services.limits, taking=False)
    counts = connection.execute(_COUNTS, now=now)[0]
    held = held_by(connection)
    passed_over = None
    for run in due_runs(connection, since):
        assets = asset_rows(connection, run.run_id)
        wanted = {(row.asset, row.partition) for row in assets if row.status == MaterializationStatus.PENDING}
        lacking = None
        if services is not None and slots is not None:
            lacking = slots_lacking(slots, services.catalog.graph, run, assets, now)
        if lacking is None and held.isdisjoint(wanted):
            ready: datetime = instant(run.ready_at)
            passed_over = ready if passed_over is None else min(passed_over, ready)
    return Backlog(counts.queued, counts.running, passed_over)
