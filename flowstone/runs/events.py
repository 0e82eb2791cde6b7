"""What runs tell telemetry: each after the commit of what it tells of, io as it happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flowstone.approvals.approval import Approval
from flowstone.approvals.store import pending
from flowstone.core.approval import ApprovalStatus
from flowstone.core.partitions import Partition, decode_partition
from flowstone.core.run import Source, SourceKind
from flowstone.errors import FlowstoneError, RuntimeStopped, StaleState
from flowstone.outcome import Outcome
from flowstone.runs.attempts import Failed, Skipped, Succeeded, Waiting
from flowstone.runs.leases import Claim
from flowstone.runs.ledger import Started
from flowstone.runs.messages import Settle
from flowstone.runs.services import Services
from flowstone.runs.store import Requested
from flowstone.state.connection import Row
from flowstone.state.fields import instant

__all__ = [
    "APPROVALS",
    "approval",
    "asked",
    "attempt_ended",
    "attempt_started",
    "finished",
    "interrupted",
    "io",
    "requested",
    "started",
]

APPROVALS = "approvals"
"""The topic on which approvals are told of: `("approval_requested", id, asset, partition)` and so on."""

_SAID = {
    "requested": "flowstone.approval.requested",
    "approved": "flowstone.approval.approved",
    "rejected": "flowstone.approval.rejected",
    "modified": "flowstone.approval.modified",
    "escalated": "flowstone.approval.escalated",
    "expired": "flowstone.approval.expired",
}
_RUN = "select * from run where run_id = :run_id"


def requested(services: Services, *made: Requested) -> None:
    """Runs were asked for; a request that found its run already there, or a conflict, tells nothing."""
    if not services.telemetry.active:
        return
    for each in made:
        if each.created and each.asked is not None:
            asked = each.asked
            about = _about(each.run_id, asked.run_key, asked.asset, asked.partition, str(asked.source))
            services.telemetry.emit("flowstone.run.requested", {"count": 1}, about)


def started(services: Services, claims: Iterable[Claim]) -> None:
    """Runs were taken up; one that was taken up before, and put off or back, tells nothing."""
    if not services.telemetry.active:
        return
    for claim in claims:
        if claim.first:
            source = str(Source(SourceKind(claim.source_kind), claim.source_name))
            about = _about(claim.lease.run_id, claim.run_key, claim.asset, claim.partition, source)
            services.telemetry.emit("flowstone.run.started", {"queue_age": claim.queue_age}, about)


def interrupted(services: Services, run_id: str, reason: str) -> None:
    """A run was put back, since what worked on it is gone."""
    services.telemetry.emit("flowstone.run.interrupted", {"count": 1}, {"run_id": run_id, "reason": reason})


def finished(services: Services, run_id: str) -> None:
    """A run has ended, however that was."""
    if services.telemetry.active:
        with suppress(RuntimeStopped):
            services.database.read_later(
                lambda connection: connection.execute(_RUN, run_id=run_id), lambda outcome: _finished(services, outcome)
            )


def attempt_started(services: Services, claim: Claim, attempt: Started) -> None:
    """An attempt at an asset begins."""
    if services.telemetry.active:
        about = _attempt(claim, attempt.asset)
        services.telemetry.emit("flowstone.materialization.start", {"attempt": attempt.attempt}, about)


def attempt_ended(services: Services, claim: Claim, asked: Settle, refused: StaleState | None) -> None:
    """An attempt at an asset has ended; `refused` when its run had been taken from it meanwhile."""
    if not services.telemetry.active:
        return
    about, verdict = _attempt(claim, asked.asset), asked.verdict
    measured = {"attempt": asked.attempt, "duration": asked.duration}
    if refused is None and isinstance(verdict, Succeeded | Skipped | Waiting):
        about |= _stopped(verdict)
        services.telemetry.emit("flowstone.materialization.stop", measured, about)
        return
    error: FlowstoneError | None = refused if isinstance(verdict, Succeeded | Skipped | Waiting) else verdict.error
    about |= {"error": str(error), "error_type": error.type if error else None, "final": isinstance(verdict, Failed)}
    services.telemetry.emit("flowstone.materialization.exception", measured, about)


def asked(services: Services, run_id: str, asset: str) -> None:
    """An asset of a run has asked people, and waits for them."""

    def then(outcome: Outcome[tuple[Approval, ...]]) -> None:
        for each in outcome.value or ():
            if each.asset == asset:
                approval(services, each, "requested")

    with suppress(RuntimeStopped):
        services.database.read_later(lambda connection: pending(connection, run_id), then)


def approval(services: Services, of: Approval, event: str | None = None) -> None:
    """Something was said of an approval, or (`event`) it was requested."""
    said = event or ("escalated" if of.status is ApprovalStatus.PENDING else of.status.value)
    services.pubsub.publish(APPROVALS, (f"approval_{said}", of.id, of.asset, of.partition))
    if services.telemetry.active:
        waited = ((of.decided_at or services.clock.now()) - of.requested_at).total_seconds()
        about = {"asset": of.asset, "partition": of.partition, "run_id": of.run_id, "approval_id": of.id}
        about |= {"message": of.message, "by": of.by, "reason": of.reason}
        services.telemetry.emit(_SAID[said], {"waited": waited}, about)


@contextmanager
def io(
    services: Services, operation: str, manager: str, *, asset: str, partition: Partition, run_id: str, **about: Any
) -> Iterator[dict[str, Any]]:
    """A value is loaded or stored; `about` says for whom, the body may add measurements to what it gets."""
    measured: dict[str, Any] = {}
    if not services.telemetry.active:
        yield measured
        return
    about |= {"asset": asset, "partition": partition, "run_id": run_id, "operation": operation, "io_manager": manager}
    emit, began = services.telemetry.emit, services.clock.monotonic()
    emit("flowstone.io.start", {}, about)
    try:
        yield measured
    except FlowstoneError as error:
        failed = {**about, "error": str(error), "error_type": error.type}
        emit("flowstone.io.exception", {"duration": services.clock.monotonic() - began}, failed)
        raise
    emit("flowstone.io.stop", {**measured, "duration": services.clock.monotonic() - began}, about)


def _finished(services: Services, outcome: Outcome[list[Row]]) -> None:
    for row in outcome.value or ():
        source = str(Source(SourceKind(row.source_kind), row.source_name))
        about = _about(row.run_id, row.run_key, row.asset, row.partition, source)
        about |= {"status": row.status, "error": row.error, "reason": row.reason}
        asked, begun, ended = (instant(at) for at in (row.requested_at, row.started_at, row.completed_at))
        measured = {
            "duration": (ended - begun).total_seconds() if begun else 0.0,
            "queue_age": ((begun or ended) - asked).total_seconds(),
            "interruptions": row.interruptions,
        }
        services.telemetry.emit("flowstone.run.finished", measured, about)


def _stopped(verdict: Succeeded | Skipped | Waiting) -> dict[str, Any]:
    if isinstance(verdict, Waiting):
        return {"status": "waiting_approval", "reason": verdict.question.message}
    if isinstance(verdict, Skipped):
        return {"status": "skipped", "reason": verdict.reason}
    return {"status": "success", "reason": None}


def _about(run_id: str, run_key: str, asset: str, partition: str, source: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "run_key": run_key,
        "asset": asset,
        "partition": decode_partition(partition),
        "source": source,
    }


def _attempt(claim: Claim, asset: str) -> dict[str, Any]:
    return {"asset": asset, "partition": decode_partition(claim.partition), "run_id": claim.lease.run_id}
