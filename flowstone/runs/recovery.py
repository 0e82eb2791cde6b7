"""Putting runs back whose actor or process is gone, and failing those that end their process each time (semantics 7).

An interrupted attempt uses up no attempt. A call of it that still goes on in this process keeps its (asset, partition)
until it ends, so that the next attempt does not run beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from flowstone.approvals import store as approvals
from flowstone.audit.store import record
from flowstone.core.run import MATERIALIZATION_STEPS, RUN_STEPS, MaterializationStatus, RunStatus, step
from flowstone.errors import PoisonedRun
from flowstone.failpoints import failpoint
from flowstone.runs.ledger import error_text
from flowstone.state.connection import Connection, Row

__all__ = ["MAX_INTERRUPTIONS", "NODE_ENDED", "put_back", "recover", "release_busy", "running_of"]

MAX_INTERRUPTIONS = 10

NODE_ENDED = "its process ended"
"""Why a run was put back whose node does not live any more."""

_RUN = "select * from run where run_id = :run_id and status = 'running'"
_LIVES = "select 1 from node where node.boot = {} and ended_at is null"
_ORPHANS = f"""
    select * from run where status = 'running' and boot is distinct from :boot
    and not exists ({_LIVES.format("run.boot")}) order by id
"""
_FREE = f"""
    update materialization set busy = null where busy is not null and busy <> :boot
    and not exists ({_LIVES.format("materialization.busy")})
"""
_REQUEUE = """
    update run set status = :status, ready_at = :now, boot = null, fence = fence + 1,
    interruptions = interruptions + 1, setbacks = setbacks + 1 where run_id = :run_id
"""
_PENDING = """
    update materialization set status = :status, busy = :busy where run_id = :run_id and asset = :asset
"""
_FAIL = """
    update materialization set status = 'failed', error = :error, completed_at = :now
    where run_id = :run_id and asset = :asset
"""
TOO_OFTEN = "the run was interrupted too often"
_SKIP = f"""
    update materialization set status = 'skipped', reason = '{TOO_OFTEN}', completed_at = :now
    where run_id = :run_id and status = 'pending'
"""
_CANCEL = f"""
    update materialization set status = 'cancelled', reason = '{TOO_OFTEN}', completed_at = :now
    where run_id = :run_id and status = 'waiting_approval'
"""
_END_RUN = "update run set status = :status, error = :error, completed_at = :now where run_id = :run_id"
_RELEASE = "update materialization set busy = null where run_id = :run_id and asset = :asset and busy = :boot"


def put_back(
    connection: Connection, run_id: str, *, now: datetime, reason: str, boot: str, busy: Collection[str] = ()
) -> RunStatus | None:
    """Put one running run back: queued again, or failed as poisoned; None when it was not running.

    `busy` names its assets whose calls still go on in the process of `boot`.
    """
    rows = connection.execute(_RUN + connection.lock("run"), run_id=run_id)
    return _interrupt(connection, rows[0], now, reason, boot, busy) if rows else None


def recover(connection: Connection, *, boot: str, now: datetime) -> tuple[str, ...]:
    """Put back every run that a node has left running which does not live any more; the ids of those.

    What calls of such nodes held is free. As many as like may do so at a time: each run is put back once.
    """
    rows = connection.execute(_ORPHANS + connection.lock("run"), boot=boot)
    for row in rows:
        _interrupt(connection, row, now, NODE_ENDED, boot, ())
    connection.execute(_FREE, boot=boot)
    return tuple(row.run_id for row in rows)


def running_of(connection: Connection, boot: str) -> tuple[str, ...]:
    """The ids of the runs that a boot is working on."""
    rows = connection.execute("select run_id from run where status = 'running' and boot = :boot", boot=boot)
    return tuple(row.run_id for row in rows)


def release_busy(connection: Connection, run_id: str, asset: str, *, boot: str) -> None:
    """Say that a call which outlived its attempt has ended."""
    connection.execute(_RELEASE, run_id=run_id, asset=asset, boot=boot)


def _interrupt(
    connection: Connection, run: Row, now: datetime, reason: str, boot: str, busy: Collection[str]
) -> RunStatus:
    sql = "select * from materialization where run_id = :run_id and status = 'running' order by id"
    assets = connection.execute(sql, run_id=run.run_id)
    status = step(RUN_STEPS, RunStatus(run.status), RunStatus.QUEUED)
    connection.execute(_REQUEUE, run_id=run.run_id, status=status, now=now)
    details = {"reason": reason, "attempts": {row.asset: row.attempt for row in assets}}
    record(connection, "run.interrupted", actor="runtime", resource=f"run:{run.run_id}", details=details, at=now)
    poisoned = run.setbacks + 1 >= MAX_INTERRUPTIONS
    for row in assets:
        holder = boot if row.asset in busy else None
        pending = step(MATERIALIZATION_STEPS, MaterializationStatus(row.status), MaterializationStatus.PENDING)
        connection.execute(_PENDING, run_id=run.run_id, asset=row.asset, status=pending, busy=holder)
    status = _poison(connection, run, [row.asset for row in assets], now, reason) if poisoned else status
    failpoint("put_back.before_commit")
    return status


def _poison(connection: Connection, run: Row, interrupted: list[str], now: datetime, reason: str) -> RunStatus:
    error = PoisonedRun(f"run {run.run_id} was interrupted {MAX_INTERRUPTIONS} times in a row, at last since {reason}")
    for asset in interrupted:
        connection.execute(_FAIL, run_id=run.run_id, asset=asset, error=error_text(error), now=now)
    connection.execute(_SKIP, run_id=run.run_id, now=now)
    connection.execute(_CANCEL, run_id=run.run_id, now=now)
    approvals.withdraw(connection, run.run_id, by="runtime", reason=TOO_OFTEN, now=now)
    status = step(RUN_STEPS, RunStatus.QUEUED, RunStatus.FAILED)
    connection.execute(_END_RUN, run_id=run.run_id, status=status, error=error_text(error), now=now)
    return status
