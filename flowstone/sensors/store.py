"""The transactions of sensors: committing an evaluation by compare-and-set, and reading what a poll starts from.

Every function works inside a transaction of its caller. An evaluation, its history row, the arrivals that it knows
again from now on and the runs that it asks for are written together or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flowstone.audit.store import record as audit
from flowstone.audit.who import who
from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition
from flowstone.core.run import FINISHED_RUNS, Identity, RunStatus
from flowstone.errors import SensorNotFound
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.store import Requested
from flowstone.sensors.evaluation import Evaluation, begin_push, decide_push, skip
from flowstone.sensors.recording import record, recorded, settle, touch, version_after
from flowstone.sensors.rows import (
    SETTLED,
    Cause,
    EvaluationRow,
    EvaluationStatus,
    Fault,
    SensorRow,
    SensorStatus,
    SkipReason,
    evaluation_of,
    sensor_of,
    standing,
)
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection
from flowstone.state.fields import Json, json_value
from flowstone.state.page import Page, page

__all__ = [
    "Committed",
    "Opening",
    "commit",
    "commit_push",
    "find_evaluation",
    "history",
    "initialise",
    "list_sensors",
    "opening",
    "read",
    "set_fault",
    "versions",
]

_OPEN = [status.value for status in RunStatus if status not in FINISHED_RUNS]
_UNFINISHED = " or ".join(f"status = {status!r}" for status in _OPEN)
# Looks at no more rows of the index than the limit, however long the queue is.
_BACKLOG = f"select 1 from run where {_UNFINISHED} limit 1 offset :most"
_ADVANCE = """
    update sensor set
        cursor = :cursor, state_version = :version, consecutive_failures = :failures, faults = :faults,
        status = :status, reason = :reason, last_evaluation_at = :now,
        last_epoch = coalesce(:epoch, last_epoch), next_poll_at = coalesce(:next_poll_at, next_poll_at)
    where name = :name and state_version = :expected
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a poll starts from: the sensor's row, and whether more runs are unfinished than the queue may hold."""

    row: SensorRow
    backlog: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit left: the evaluation's row, the sensor's row, the partitions that arrived, and their runs."""

    evaluation: EvaluationRow
    row: SensorRow
    partitions: tuple[Partition, ...] = ()
    requested: tuple[Requested, ...] = ()


def read(connection: Connection, name: str) -> SensorRow:
    """The row of a sensor.

    Raises:
        SensorNotFound: there is none, or it was removed.
    """
    found = connection.execute("select * from sensor where name = :name and removed = false", name=name)
    if not found:
        known = [row.name for row in connection.execute("select name from sensor where removed = false")]
        raise SensorNotFound.named(name, known)
    return sensor_of(found[0])


def list_sensors(connection: Connection) -> tuple[SensorRow, ...]:
    """The rows of all sensors by name, those that left the code too."""
    rows = connection.execute("select * from sensor where removed = false order by name")
    return tuple(sensor_of(row) for row in rows)


def versions(connection: Connection) -> dict[str, int]:
    """The state version of each sensor."""
    rows = connection.execute("select name, state_version from sensor where removed = false")
    return {row.name: row.state_version for row in rows}


def opening(connection: Connection, name: str, *, max_queue: int) -> Opening:
    """What a poll starts from.

    Raises:
        SensorNotFound: there is no such sensor, or it was removed.
    """
    return Opening(read(connection, name), bool(connection.execute(_BACKLOG, most=max_queue)))


def initialise(connection: Connection, row: SensorRow, cursor: str) -> SensorRow:
    """Store the first cursor of the sensor that `row` shows, unless it was changed since; the row as it is then.

    The first cursor is no evaluation: it raises no state version.
    """
    connection.execute(
        "update sensor set cursor = :cursor where name = :name and state_version = :expected and cursor is null",
        cursor=cursor,
        name=row.name,
        expected=row.state_version,
    )
    return read(connection, row.name)


def commit(connection: Connection, evaluation: Evaluation, *, identity: Identity) -> Committed:
    """Write an evaluation and all that follows from it, or find it written.

    1. An evaluation that has been recorded under this key is returned unchanged: a retry finds its own work.
    2. The sensor's row is advanced if its state version is still the one that the poll started from. If it is not,
       somebody else moved the cursor: only a `skipped_stale` row is written, and the requests are dropped.
    3. Arrivals that are known already are dropped, runs are requested by run key, the history row is written.

    An evaluation that called no user code is recorded without comparing versions, since it changes none.
    """
    name = evaluation.start.row.name
    known = recorded(connection, evaluation.start.eval_key)
    if known:
        return Committed(known[0], read(connection, name), tuple(wanted.partition for wanted in evaluation.requests))
    _audit(connection, evaluation)
    if evaluation.status is EvaluationStatus.SKIPPED:
        return Committed(record(connection, evaluation), touch(connection, evaluation))
    row = _advance(connection, evaluation)
    if row is None:
        row = touch(connection, evaluation)
        return Committed(record(connection, _stale(evaluation, row)), row)
    history_row, partitions, requested = settle(connection, evaluation, identity=identity)
    failpoint("poll.before_commit")
    return Committed(history_row, row, partitions, requested)


def commit_push(
    connection: Connection,
    spec: SensorSpec,
    outcome: Outcome[Any] | SkipReason,
    *,
    message_id: str,
    now: datetime,
    catalog: Catalog,
    identity: Identity,
) -> Committed:
    """Write the evaluation of a pushed message, or find the one that settled it.

    What was skipped or failed does not consume the message id: a later push of it is evaluated again.

    Raises:
        SensorNotFound: there is no such sensor, or it was removed.
    """
    start = begin_push(read(connection, spec.name), message_id)
    known = recorded(connection, start.eval_key)
    if known and known[-1].status in SETTLED:
        return Committed(known[-1], start.row)
    skipped = SkipReason.PAUSED if start.row.paused else outcome
    if isinstance(skipped, SkipReason):
        evaluation = skip(start, skipped, now=now, earlier=len(known))
    else:
        evaluation = decide_push(
            spec, start, skipped, message_id=message_id, earlier=len(known), now=now, catalog=catalog
        )
    row = touch(connection, evaluation)
    history_row, partitions, requested = settle(connection, evaluation, identity=identity)
    failpoint("push.before_commit")
    return Committed(history_row, row, partitions, requested)


def set_fault(connection: Connection, name: str, fault: Fault, *, present: bool) -> SensorRow:
    """Note that a sensor has a fault, or no longer; polls in progress stay valid.

    Raises:
        SensorNotFound: there is no such sensor, or it was removed.
    """
    row = read(connection, name)
    faults = row.faults | {fault} if present else row.faults - {fault}
    status, reason = standing(faults, paused=row.paused, reason=row.reason)
    connection.execute(
        "update sensor set faults = :faults, status = :status, reason = :reason where name = :name",
        name=name,
        faults=Json(sorted(faults)),
        status=status,
        reason=reason,
    )
    return read(connection, name)


def history(
    connection: Connection,
    name: str,
    *,
    status: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[EvaluationRow]:
    """The evaluations of a sensor, newest first.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"sensor": name, "status": status}
    return page(connection, "evaluation", evaluation_of, filters, since=since, limit=limit, cursor=cursor)


def find_evaluation(connection: Connection, identifier: str) -> EvaluationRow | None:
    """The evaluation of this id, or None."""
    found = connection.execute("select * from evaluation where eval_id = :id", id=identifier)
    return evaluation_of(found[0]) if found else None


def _audit(connection: Connection, evaluation: Evaluation) -> None:
    """Write down who asked for a poll; the timer's need no row beside their own."""
    start = evaluation.start
    if start.cause is Cause.MANUAL:
        details = {"eval_id": evaluation.eval_id}
        resource = f"sensor:{start.row.name}"
        audit(connection, "sensor.polled", actor=who(start.by), resource=resource, details=details, at=evaluation.at)


def _advance(connection: Connection, evaluation: Evaluation) -> SensorRow | None:
    """The sensor's row after the compare-and-set; None when it was changed since the poll started."""
    before = evaluation.start.row
    faults = evaluation.faults | {Fault(name) for name in _crashes(connection, before.name)}
    # Whoever pauses raises the version, so that a sensor whose version is still the same is as it was.
    status, reason = standing(faults, paused=before.paused, reason=before.reason)
    advanced = connection.change(
        _ADVANCE,
        name=before.name,
        expected=before.state_version,
        cursor=evaluation.cursor_after,
        version=version_after(evaluation),
        failures=evaluation.failures,
        faults=Json(sorted(faults)),
        status=status,
        reason=reason,
        epoch=evaluation.start.epoch,
        next_poll_at=evaluation.next_poll_at,
        now=evaluation.at,
    )
    if not advanced:
        return None
    epoch, next_poll_at = evaluation.start.epoch, evaluation.next_poll_at
    return replace(
        before,
        cursor_text=evaluation.cursor_after,
        state_version=version_after(evaluation),
        consecutive_failures=evaluation.failures,
        faults=frozenset(faults),
        status=SensorStatus.ORPHANED if before.orphaned else status,
        reason=None if reason is None else str(reason),
        last_evaluation_at=evaluation.at,
        last_epoch=before.last_epoch if epoch is None else epoch,
        next_poll_at=before.next_poll_at if next_poll_at is None else next_poll_at,
    )


def _crashes(connection: Connection, name: str) -> list[str]:
    """The fault of crashes, which the supervisor writes at any time, where the sensor has it."""
    found = connection.execute("select faults from sensor where name = :name", name=name)
    return [fault for row in found for fault in json_value(row["faults"]) if fault == Fault.CRASHES]


def _stale(evaluation: Evaluation, row: SensorRow) -> Evaluation:
    expected = evaluation.start.row.state_version
    return replace(
        evaluation,
        status=EvaluationStatus.SKIPPED_STALE,
        cursor_after=evaluation.start.row.cursor_text,
        reason=f"stale: the poll started from state version {expected}, which is {row.state_version} now",
        reason_code="stale",
        requests=(),
    )
