"""Approvals at rest: each asked for by a run that waits for it, or decided once, and no deadline passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from flowstone.approvals.store import pending
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.state.connection import Connection
from flowstone.testing.simulate.violations import Violation

__all__ = ["check_approvals"]

_DECISIONS = """
    select resource from audit where event_type like 'approval.%'
    and event_type not in ('approval.requested', 'approval.escalated')
"""
_WAITING = "select run_id, asset, approval from materialization where status = :status"
_RUNS = "select run_id from run where status = :status"
_ROWS = "select approval_id, status from approval"

WAITS = "what waits for people has asked them"
ONCE = "an approval is decided once"
DEADLINES = "a deadline that has passed decides"


def check_approvals(disk: Connection, *, now: datetime) -> Iterator[Violation]:
    """What is wrong with approvals, and with what waits for them."""
    open_ones = {approval.id: approval for approval in pending(disk)}
    for approval in open_ones.values():
        if approval.deadline is not None and approval.deadline <= now:
            yield Violation(DEADLINES, approval.id, f"it is pending, and was due at {approval.deadline}")
    waiting = {row.approval: row for row in disk.execute(_WAITING, status=MaterializationStatus.WAITING_APPROVAL)}
    for identifier in waiting.keys() ^ open_ones.keys():
        text = "it is pending, and nothing waits for it" if identifier in open_ones else "it is waited for in vain"
        yield Violation(WAITS, str(identifier), text)
    asking = {row.run_id for row in waiting.values()}
    for row in disk.execute(_RUNS, status=RunStatus.WAITING_APPROVAL):
        if row.run_id not in asking:
            yield Violation(WAITS, row.run_id, "it waits for people, and none of its assets does")
    decisions = Counter(row.resource.removeprefix("approval:") for row in disk.execute(_DECISIONS))
    for row in disk.execute(_ROWS):
        if decisions[row.approval_id] != (row.approval_id not in open_ones):
            yield Violation(ONCE, row.approval_id, f"it is {row.status}, by {decisions[row.approval_id]} decisions")
