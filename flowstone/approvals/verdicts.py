"""What becomes of an approval when a person or its deadline speaks. Pure (semantics 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flowstone.approvals.approval import Approval
from flowstone.core.approval import ApprovalStatus, OnTimeout
from flowstone.errors import ApprovalRejected, StaleState

__all__ = ["TIMEOUT", "Verdict", "after_deadline", "decided", "escalated", "is_overdue", "refusal", "rejection"]

TIMEOUT = "timeout"
"""Who decides when the deadline does."""

_BY_DEADLINE: Mapping[OnTimeout, ApprovalStatus] = {
    OnTimeout.EXPIRE: ApprovalStatus.EXPIRED,
    OnTimeout.APPROVE: ApprovalStatus.APPROVED,
    OnTimeout.REJECT: ApprovalStatus.REJECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What somebody says of an approval: a final status, or `PENDING` for an escalation."""

    status: ApprovalStatus
    by: str
    reason: str | None = None
    payload: Any = None


def is_overdue(approval: Approval, now: datetime) -> bool:
    """Whether its deadline has passed, and nobody has decided."""
    pending = approval.status is ApprovalStatus.PENDING
    return pending and approval.deadline is not None and approval.deadline <= now


def after_deadline(approval: Approval) -> Verdict:
    """What the deadline says of a pending approval."""
    status = _BY_DEADLINE.get(approval.on_timeout, ApprovalStatus.PENDING)
    return Verdict(status=status, by=TIMEOUT, reason=f"nobody decided until {approval.deadline:%Y-%m-%d %H:%M:%S %Z}")


def decided(approval: Approval, verdict: Verdict, now: datetime) -> Approval:
    """The approval with what was said of it; an escalation gives it a new deadline, and leaves it pending.

    Raises:
        StaleState: it was decided before; names the first decision.
    """
    if approval.status is not ApprovalStatus.PENDING:
        raise refusal(approval)
    if verdict.status is ApprovalStatus.PENDING:
        return escalated(approval, now)
    return replace(
        approval,
        status=verdict.status,
        by=verdict.by,
        reason=verdict.reason,
        payload=verdict.payload,
        decided_at=now,
    )


def escalated(approval: Approval, now: datetime) -> Approval:
    """The approval with a deadline as far away as the first one was; without a timeout it has none."""
    deadline = None if approval.timeout is None else now + timedelta(seconds=approval.timeout)
    return replace(approval, deadline=deadline, escalations=approval.escalations + 1)


def refusal(approval: Approval) -> StaleState:
    """The error for a decision that comes after another one."""
    first = f"{approval.status} by {approval.by} at {approval.decided_at:%Y-%m-%d %H:%M:%S %Z}"
    because = f" ({approval.reason})" if approval.reason else ""
    message = f"approval {approval.id} of {approval.asset} was {first}{because}; it is decided once"
    return StaleState(message, retryable=False, approval=approval.id, status=approval.status, by=approval.by)


def rejection(approval: Approval) -> ApprovalRejected:
    """What the asset of a rejected or expired approval fails with."""
    because = f": {approval.reason}" if approval.reason else ""
    what = "expired" if approval.status is ApprovalStatus.EXPIRED else f"was {approval.status}"
    message = f"the approval of {approval.asset} {what} by {approval.by}{because} ({approval.message})"
    return ApprovalRejected(message, approval=approval.id, by=approval.by)
