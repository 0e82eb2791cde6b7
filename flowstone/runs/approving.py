"""Decisions over approvals, with what follows for their runs: one transaction, and what is told after its commit.

A deadline that has passed decides, whether or not a process was there to see it pass: whoever comes later is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flowstone.approvals import store
from flowstone.approvals.approval import Approval
from flowstone.approvals.verdicts import Verdict, after_deadline, is_overdue, refusal, rejection
from flowstone.core.approval import ApprovalStatus
from flowstone.core.graph import Graph
from flowstone.core.run import FINISHED_RUNS, RunStatus
from flowstone.errors import ApprovalNotFound, StaleState
from flowstone.failpoints import failpoint
from flowstone.runs import events
from flowstone.runs.attempts import Failed
from flowstone.runs.ledger import Lease, Ledger, asset_rows
from flowstone.runs.reminding import remind
from flowstone.runs.services import Services
from flowstone.runs.standing import Standing
from flowstone.runs.waiters import RunLeft
from flowstone.state.connection import Connection, Row

__all__ = ["Decided", "after_decision", "decide", "expire"]

_RUN = "select * from run where run_id = :run_id"
_HURRY = "update run set ready_at = :now where run_id = :run_id and status = 'queued'"


@dataclass(frozen=True, slots=True)
class Decided:
    """An approval after a decision, whether its run ended with it, and why the decision was refused, if it was.

    `told` are the approval's states that others hear of: one refused for its deadline has what the deadline said.
    """

    approval: Approval
    told: tuple[Approval, ...] = ()
    ended: bool = False
    refused: StaleState | None = None


def decide(connection: Connection, graph: Graph, identifier: str, verdict: Verdict, now: datetime) -> Decided:
    """Write what somebody says of an approval, and what follows for the run.

    Raises:
        ApprovalNotFound: there is no such approval.
    """
    run, approval = _locked(connection, identifier)
    told: tuple[Approval, ...] = ()
    ended = False
    if is_overdue(approval, now):
        approval = store.decide(connection, approval, after_deadline(approval), now)
        told, ended = (approval,), _follow(connection, graph, run, approval, now)
    if approval.status is not ApprovalStatus.PENDING:
        return Decided(approval, told, ended, refusal(approval))
    approval = store.decide(connection, approval, verdict, now)
    ended = _follow(connection, graph, run, approval, now)
    failpoint("approval.before_decision")
    return Decided(approval, (*told, approval), ended)


def expire(connection: Connection, graph: Graph, now: datetime) -> tuple[Decided, ...]:
    """Let all deadlines that have passed decide."""
    found = []
    for identifier in store.overdue(connection, now):
        run, approval = _locked(connection, identifier)
        # Somebody may have decided before we had the rows to ourselves.
        if is_overdue(approval, now):
            approval = store.decide(connection, approval, after_deadline(approval), now)
            found.append(Decided(approval, (approval,), _follow(connection, graph, run, approval, now)))
    if found:
        failpoint("approval.before_deadline")
    return tuple(found)


def after_decision(services: Services, decided: Decided) -> None:
    """Tell of a decision that is committed, and let its run go on."""
    for approval in decided.told:
        events.approval(services, approval)
    run_id = decided.approval.run_id
    if decided.ended:
        services.waiters.tell(RunLeft(run_id, {decided.approval.asset: rejection(decided.approval)}))
        events.finished(services, run_id)
    remind(services, run_id)
    services.wake()


def _locked(connection: Connection, identifier: str) -> tuple[Row, Approval]:
    """An approval and its run, which both stay as they are until the transaction ends.

    The run is locked first, as by whoever works on it.
    """
    found = store.find(connection, identifier)
    if found is None:
        raise ApprovalNotFound.named(identifier)
    rows = connection.execute(_RUN + connection.lock("run"), run_id=found.run_id)
    return rows[0], store.get(connection, identifier)


def _follow(connection: Connection, graph: Graph, run: Row, approval: Approval, now: datetime) -> bool:
    """Let the asset go on, or fail it; whether that ended the run."""
    if approval.status is ApprovalStatus.PENDING or run.status in FINISHED_RUNS:
        return False
    ledger = Ledger(
        connection,
        graph,
        Lease(run.run_id, "", run.fence),
        Standing.read(asset_rows(connection, run.run_id), ""),
        now,
        attempt=run.attempt,
        setbacks=run.setbacks,
    )
    if approval.status in (ApprovalStatus.APPROVED, ApprovalStatus.MODIFIED):
        ledger.resume(approval.asset)
    else:
        ledger.end(approval.asset, Failed(rejection(approval)))
    if run.status != RunStatus.WAITING_APPROVAL:
        connection.execute(_HURRY, run_id=run.run_id, now=now)
        return False
    return ledger.conclude() in FINISHED_RUNS
