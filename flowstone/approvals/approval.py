"""An approval as a row, and its id."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.core.approval import ApprovalStatus, Decision, OnTimeout
from flowstone.core.partitions import Partition, decode_partition
from flowstone.state.connection import Row
from flowstone.state.fields import instant, json_value

__all__ = ["Approval", "approval_id", "approval_of", "decision_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What an asset of a run asks people. `by` is who decided, `timeout` for the deadline; None while it is pending.

    `timeout` is in seconds; `escalations` counts how often the question went on to others.
    """

    id: str
    asset: str
    partition: Partition
    run_id: str
    message: str
    context: Any
    timeout: float | None
    on_timeout: OnTimeout
    deadline: datetime | None
    escalations: int
    status: ApprovalStatus
    by: str | None
    reason: str | None
    payload: Any
    requested_at: datetime
    decided_at: datetime | None


def approval_id(run_id: str, asset: str, number: int) -> str:
    """The id of the question number `number` (from 0) of an asset in a run: the same wherever it is computed.

    >>> approval_id("run_a", "report", 0)
    'approval_3mwibc35gwrzd2fwz2f5gqnln4'
    """
    digest = hashlib.sha256(f"{run_id}:{asset}:{number}".encode()).digest()[:16]
    return f"approval_{base64.b32encode(digest).decode().lower().rstrip('=')}"


def approval_of(row: Row) -> Approval:
    """The value of a row of table `approval`."""
    return Approval(
        id=row.approval_id,
        asset=row.asset,
        partition=decode_partition(row.partition),
        run_id=row.run_id,
        message=row.message,
        context=json_value(row.context),
        timeout=row.timeout,
        on_timeout=OnTimeout(row.on_timeout),
        deadline=instant(row.deadline),
        escalations=row.escalations,
        status=ApprovalStatus(row.status),
        by=row.decided_by,
        reason=row.reason,
        payload=json_value(row.payload),
        requested_at=instant(row.requested_at),
        decided_at=instant(row.decided_at),
    )


def decision_of(approval: Approval) -> Decision | None:
    """What the function is told of an approval that let it go on; None of any other."""
    if approval.status not in (ApprovalStatus.APPROVED, ApprovalStatus.MODIFIED):
        return None
    return Decision(approval.status, approval.by or "unknown", approval.payload, approval.reason)
