"""What people decide over a backfill: pause, go on, end it, try again what failed. In transactions, each audited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowstone.audit.store import record
from flowstone.backfills import store
from flowstone.backfills.backfill import FINISHED_BACKFILLS, BackfillStatus
from flowstone.backfills.steps import Stepped, settle
from flowstone.errors import ValidationError
from flowstone.failpoints import failpoint
from flowstone.runs import decisions as of_runs
from flowstone.runs.services import Services
from flowstone.state.connection import Connection, Row

__all__ = ["Decision", "cancel", "pause", "resume", "retry_failed"]

_CANCEL_PENDING = """
    update backfill_partition set status = 'cancelled', completed_at = :now
    where backfill_id = :id and status in ('pending', 'running')
"""
_RETRY = """
    update backfill_partition set status = 'pending', retry_of = run_id, error = null, completed_at = null
    where backfill_id = :id and status in ('failed', 'cancelled')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decides over which backfill, and when."""

    id: str
    actor: str
    now: datetime


def pause(connection: Connection, decision: Decision) -> None:
    """Ask for no more runs; those under way go on. Harmless when it is paused already.

    Raises:
        BackfillNotFound: there is no such backfill.
        ValidationError: it has finished.
    """
    backfill = _open(connection, decision, "pause")
    _say(connection, decision, backfill, BackfillStatus.PAUSED, "paused")


def resume(connection: Connection, decision: Decision) -> None:
    """Go on with a paused backfill. Harmless when it runs already.

    Raises:
        BackfillNotFound: there is no such backfill.
        ValidationError: it has finished.
    """
    backfill = _open(connection, decision, "resume")
    _say(connection, decision, backfill, BackfillStatus.RUNNING, "resumed")


def cancel(connection: Connection, services: Services, decision: Decision) -> tuple[str, ...]:
    """End a backfill and its runs; the ids of the runs that were cancelled, for `after_cancel` once it is committed.

    Raises:
        BackfillNotFound: there is no such backfill.
        ValidationError: it has finished.
    """
    backfill, stepped = _open(connection, decision, "cancel"), Stepped()
    settle(connection, decision.id, decision.now, stepped)
    reason = f"backfill {decision.id} was cancelled"
    cancelled = tuple(
        run_id
        for run_id in sorted(stepped.under_way)
        if of_runs.cancel(connection, services, run_id, reason=reason, actor=decision.actor, now=decision.now)
    )
    # A run that ended just now, between the two, has settled its partition by that.
    settle(connection, decision.id, decision.now, Stepped())
    connection.execute(_CANCEL_PENDING, id=decision.id, now=decision.now)
    _say(connection, decision, backfill, BackfillStatus.CANCELLED, "cancelled")
    return cancelled


def retry_failed(connection: Connection, decision: Decision) -> int:
    """Try each failed or cancelled partition again, as a new run; how many there are.

    Raises:
        BackfillNotFound: there is no such backfill.
        ValidationError: it was cancelled.
    """
    backfill = store.locked(connection, decision.id)
    if backfill.status == BackfillStatus.CANCELLED:
        raise ValidationError(f"backfill {decision.id} was cancelled: start another one", backfill=decision.id)
    number = connection.change(_RETRY, id=decision.id)
    if number:
        status = BackfillStatus.RUNNING if backfill.status == BackfillStatus.FAILED else BackfillStatus(backfill.status)
        _say(connection, decision, backfill, status, "retried", always=True)
    return number


def _open(connection: Connection, decision: Decision, what: str) -> Row:
    backfill = store.locked(connection, decision.id)
    if backfill.status in FINISHED_BACKFILLS:
        expected = f"expected a backfill that is running or paused to {what}"
        raise ValidationError(f"{expected}, got: {decision.id}, which is {backfill.status}", backfill=decision.id)
    return backfill


def _say(
    connection: Connection,
    decision: Decision,
    backfill: Row,
    status: BackfillStatus,
    event: str,
    *,
    always: bool = False,
) -> None:
    if status == backfill.status and not always:
        return
    store.set_status(connection, backfill, status, decision.now)
    resource = f"backfill:{decision.id}"
    record(connection, f"backfill.{event}", actor=decision.actor, resource=resource, at=decision.now)
    failpoint("backfill.before_decision")
