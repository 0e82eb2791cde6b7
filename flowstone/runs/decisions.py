"""Decisions over a run from outside: cancelling it, whatever state it is in, and asking for another one like it."""

from __future__ import annotations

from datetime import datetime

from flowstone.approvals import store as approvals
from flowstone.audit.store import record
from flowstone.core.partitions import decode_partition
from flowstone.core.run import FINISHED_RUNS, RUN_STEPS, RunRequest, RunStatus, Source, SourceKind, step
from flowstone.errors import RunNotFound, ValidationError
from flowstone.runs import events, store
from flowstone.runs.reminding import tell_of_slots
from flowstone.runs.requests import resolve
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import json_value

__all__ = ["after_cancel", "cancel", "retry"]

_RUN = "select * from run where run_id = :run_id"
_CANCEL_RUN = """
    update run set status = :status, reason = :reason, completed_at = :now, boot = null, fence = fence + 1
    where run_id = :run_id
"""
_CANCEL_ASSETS = """
    update materialization set status = 'cancelled', reason = :reason, completed_at = :now
    where run_id = :run_id and status in ('pending', 'running', 'waiting_approval')
"""
_HOLD_ELSEWHERE = """
    update materialization set busy = :boot where run_id = :run_id and status = 'running' and busy is null
"""
_HOLD = "update materialization set busy = :boot where run_id = :run_id and asset = :asset"


def cancel(
    connection: Connection, services: Services, run_id: str, *, reason: str, actor: str, now: datetime
) -> bool:
    """Cancel a run; False when it had finished before. Call `after_cancel` when the transaction is committed.

    A call in progress can't be ended: its value is not stored, and its (asset, partition) stays held until it ends.

    Raises:
        RunNotFound: there is no such run.
    """
    rows = connection.execute(_RUN + connection.lock("run"), run_id=run_id)
    if not rows:
        raise RunNotFound.named(run_id)
    if rows[0].status in FINISHED_RUNS:
        return False
    status = step(RUN_STEPS, RunStatus(rows[0].status), RunStatus.CANCELLED)
    if rows[0].boot not in (None, services.boot):
        connection.execute(_HOLD_ELSEWHERE, run_id=run_id, boot=rows[0].boot)
    connection.execute(_CANCEL_RUN, run_id=run_id, status=status, reason=reason, now=now)
    connection.execute(_CANCEL_ASSETS, run_id=run_id, reason=reason, now=now)
    approvals.withdraw(connection, run_id, by=actor, reason=reason, now=now)
    for asset in services.calls.outlive(run_id):
        connection.execute(_HOLD, run_id=run_id, asset=asset, boot=services.boot)
    record(
        connection, "run.cancelled", actor=actor, resource=f"run:{run_id}", details={"reason": reason}, at=now
    )
    return True


def after_cancel(services: Services, run_id: str) -> None:
    """Tell those who wait for a run that was cancelled, and let others take its place."""
    services.waiters.tell(RunLeft(run_id))
    events.finished(services, run_id)
    tell_of_slots(services)


def retry(connection: Connection, services: Services, run_id: str, *, actor: str, now: datetime) -> store.Requested:
    """Ask for a run like one that has finished, its payload included; the finished one stays as it is.

    Raises:
        RunNotFound: there is no such run.
        ValidationError: it has not finished.
        AssetNotFound, PartitionError: what it was about is not defined any more.
    """
    rows = connection.execute(_RUN, run_id=run_id)
    if not rows:
        raise RunNotFound.named(run_id)
    run = rows[0]
    if run.status not in FINISHED_RUNS:
        raise ValidationError(f"expected a run that has finished, got: {run_id}, which is {run.status}")
    resolved = resolve(
        services.catalog,
        RunRequest(run.asset, decode_partition(run.partition), tags=json_value(run.tags), priority=run.priority),
        default_key=f"retry:{run_id}:{_number(connection, run)}",
        source=Source(SourceKind(run.source_kind), run.source_name, run.evaluation_id),
        payload=json_value(run.payload),
        force=bool(run.force),
        io_manager=run.io_manager,
        retry_of=run_id,
    )
    requested = store.request(connection, resolved, identity=services.identity, now=now)
    details = {"run_id": requested.run_id}
    record(connection, "run.retried", actor=actor, resource=f"run:{run_id}", details=details, at=now)
    return requested


def _number(connection: Connection, run: Row) -> int:
    """The number of the next retry of a run, from 1."""
    rows = connection.execute("select run_key from run where retry_of = :run_id", run_id=run.run_id)
    return 1 + max((int(row.run_key.rpartition(":")[2]) for row in rows), default=0)
