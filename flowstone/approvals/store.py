"""The rows of approvals. Every function works inside a transaction of its caller."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.approvals.approval import Approval, approval_id, approval_of
from flowstone.approvals.verdicts import Verdict, decided
from flowstone.audit.store import record
from flowstone.core.approval import ApprovalStatus, WaitForApproval
from flowstone.errors import ApprovalNotFound
from flowstone.state.connection import Connection
from flowstone.state.fields import Json, instant, json_text

__all__ = ["Asker", "ask", "decide", "find", "get", "next_deadline", "overdue", "pending", "withdraw"]

_INSERT = """
    insert into approval (
        approval_id, run_id, asset, partition, message, context, timeout, on_timeout, deadline, escalations, status,
        requested_at
    ) values (
        :approval_id, :run_id, :asset, :partition, :message, :context, :timeout, :on_timeout, :deadline, 0, 'pending',
        :now
    )
"""
_DECIDE = """
    update approval set status = :status, decided_by = :by, reason = :reason, payload = :payload, deadline = :deadline,
    escalations = :escalations, decided_at = :decided_at where approval_id = :id and status = 'pending'
"""
_WITHDRAW = """
    update approval set status = 'withdrawn', decided_by = :by, reason = :reason, decided_at = :now
    where approval_id = :id
"""
_OPEN = "select * from approval where status = 'pending'"
_EARLIER = "select message, context from approval where run_id = :run_id and asset = :asset order by id"


@dataclass(frozen=True, slots=True)
class Asker:
    """The asset of a run that asks; the partition in its stored form."""

    run_id: str
    asset: str
    partition: str


def ask(connection: Connection, asker: Asker, question: WaitForApproval, now: datetime) -> str | None:
    """Write what an asset asks; the approval's id, or None when this was asked before in the same words.

    A function that is called again after an approval, and does not look at it, would ask for ever.
    """
    context = None if question.context is None else json_text(question.context)
    about = {"run_id": asker.run_id, "asset": asker.asset}
    earlier = connection.execute(_EARLIER, about)
    if any((row.message, row.context) == (question.message, context) for row in earlier):
        return None
    identifier = approval_id(asker.run_id, asker.asset, len(earlier))
    deadline = None if question.timeout is None else now + timedelta(seconds=question.timeout)
    connection.execute(
        _INSERT,
        about,
        approval_id=identifier,
        partition=asker.partition,
        message=question.message,
        context=context,
        timeout=question.timeout,
        on_timeout=question.on_timeout,
        deadline=deadline,
        now=now,
    )
    details = {**about, "message": question.message}
    record(
        connection, "approval.requested", actor="runtime", resource=f"approval:{identifier}", details=details, at=now
    )
    return identifier


def get(connection: Connection, identifier: str) -> Approval:
    """The approval of this id; where databases lock rows, it stays as it is until the transaction ends.

    Raises:
        ApprovalNotFound: there is none.
    """
    sql = "select * from approval a where approval_id = :id" + connection.lock("a")
    rows = connection.execute(sql, id=identifier)
    if not rows:
        raise ApprovalNotFound.named(identifier)
    return approval_of(rows[0])


def find(connection: Connection, identifier: str) -> Approval | None:
    """The approval of this id, or None."""
    rows = connection.execute("select * from approval where approval_id = :id", id=identifier)
    return approval_of(rows[0]) if rows else None


def pending(connection: Connection, run_id: str | None = None) -> tuple[Approval, ...]:
    """What waits for a decision, the oldest question first; of one run, or of all."""
    of_run = "" if run_id is None else " and run_id = :run_id"
    rows = connection.execute(f"{_OPEN}{of_run} order by id", {} if run_id is None else {"run_id": run_id})
    return tuple(approval_of(row) for row in rows)


def overdue(connection: Connection, now: datetime) -> tuple[str, ...]:
    """The ids of pending approvals whose deadline has passed, in the order of their deadlines."""
    sql = "select approval_id from approval where status = 'pending' and deadline <= :now order by deadline, id"
    return tuple(row.approval_id for row in connection.execute(sql, now=now))


def next_deadline(connection: Connection) -> datetime | None:
    """The instant of the next deadline of a pending approval, which may have passed."""
    sql = "select min(deadline) as deadline from approval where status = 'pending'"
    deadline: str | None = connection.execute(sql)[0].deadline
    return instant(deadline)


def decide(connection: Connection, approval: Approval, verdict: Verdict, now: datetime) -> Approval:
    """Write what was said of an approval, and who said it; the approval as it is now.

    Raises:
        StaleState: it was decided before; names the first decision.
    """
    after = decided(approval, verdict, now)
    connection.execute(
        _DECIDE,
        id=after.id,
        status=after.status,
        by=after.by,
        reason=after.reason,
        payload=None if after.payload is None else Json(after.payload),
        deadline=after.deadline,
        escalations=after.escalations,
        decided_at=after.decided_at,
    )
    event = "escalated" if after.status is ApprovalStatus.PENDING else after.status.value
    details = {"run_id": after.run_id, "asset": after.asset, "reason": verdict.reason}
    record(
        connection,
        f"approval.{event}",
        actor=verdict.by,
        resource=f"approval:{after.id}",
        details=details,
        at=now,
    )
    return after


def withdraw(connection: Connection, run_id: str, *, by: str, reason: str, now: datetime) -> None:
    """Withdraw what a run asks: it was cancelled."""
    for approval in pending(connection, run_id):
        connection.execute(_WITHDRAW, id=approval.id, by=by, reason=reason, now=now)
        details = {"run_id": run_id, "asset": approval.asset, "reason": reason}
        record(connection, "approval.withdrawn", actor=by, resource=f"approval:{approval.id}", details=details, at=now)
