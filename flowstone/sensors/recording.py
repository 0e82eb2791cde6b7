"""What an evaluation leaves in the store besides the sensor's row: arrivals, runs, deliveries, its history row.

Every function works inside the transaction that commits the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.run import Identity
from flowstone.runs.store import Requested, request
from flowstone.sensors.answers import Request
from flowstone.sensors.evaluation import Evaluation
from flowstone.sensors.rows import (
    SETTLED,
    Cause,
    DeliveryStatus,
    EvaluationRow,
    EvaluationStatus,
    SensorRow,
    evaluation_of,
    sensor_of,
)
from flowstone.state.connection import Connection
from flowstone.state.fields import Json

__all__ = ["record", "recorded", "settle", "touch", "version_after"]

_RECORDED = "select * from evaluation where eval_key = :key order by id"
_TOUCH = """
    update sensor set
        last_evaluation_at = :now,
        last_epoch = coalesce(:epoch, last_epoch), next_poll_at = coalesce(:next_poll_at, next_poll_at)
    where name = :name
    returning *
"""
_RECORD = """
    insert into evaluation (
        eval_id, eval_key, sensor, trigger, status, reason, reason_code, expected_state_version, state_version_after,
        cursor_before, cursor_after, request_count, duplicate_count, run_ids, at
    ) values (
        :eval_id, :eval_key, :sensor, :trigger, :status, :reason, :reason_code, :expected, :version,
        :cursor_before, :cursor_after, :request_count, :duplicate_count, :run_ids, :now
    ) returning *
"""
_ARRIVE = """
    insert into arrival (sensor, key, eval_id, at) values (:sensor, :key, :eval_id, :now)
    on conflict (sensor, key) do nothing returning key
"""
_SEEN_AGAIN = "update arrival set at = :now where sensor = :sensor and key = :key and at < :before"
_FORGET = "delete from arrival where sensor = :sensor and at < :before"
_DELIVER = """
    insert into outbox (sensor, eval_id, partition, payload, status, attempts, next_at, created_at)
    values (:sensor, :eval_id, :partition, :payload, :status, 0, :now, :now)
"""


def recorded(connection: Connection, eval_key: str) -> list[EvaluationRow]:
    """The evaluations of a key, oldest first."""
    return [evaluation_of(row) for row in connection.execute(_RECORDED, key=eval_key)]


def touch(connection: Connection, evaluation: Evaluation) -> SensorRow:
    """The sensor's row after an evaluation that changes nothing but its times."""
    touched = connection.execute(
        _TOUCH,
        name=evaluation.start.row.name,
        epoch=evaluation.start.epoch,
        next_poll_at=evaluation.next_poll_at,
        now=evaluation.at,
    )
    return sensor_of(touched[0])


def settle(
    connection: Connection, evaluation: Evaluation, *, identity: Identity
) -> tuple[EvaluationRow, tuple[Partition, ...], tuple[Requested, ...]]:
    """Write all that an evaluation asks for: its row, the partitions that had not arrived before, and their runs."""
    fresh = tuple(_arrived(connection, evaluation))
    requested = tuple(_requested(connection, fresh, identity, evaluation.at))
    if evaluation.delivers:
        _deliver(connection, evaluation, fresh)
    run_ids = tuple(one.run_id for one in requested)
    row = record(connection, evaluation, fresh=fresh, run_ids=run_ids)
    return row, tuple(one.partition for one in fresh), requested


def record(
    connection: Connection, evaluation: Evaluation, *, fresh: tuple[Request, ...] = (), run_ids: tuple[str, ...] = ()
) -> EvaluationRow:
    """Write an evaluation's history row; a push's knows no cursor and no version."""
    duplicates = len(evaluation.requests) - len(fresh)
    status, reason = evaluation.status, evaluation.reason
    if duplicates and not fresh:
        status, reason = EvaluationStatus.NO_TRIGGER, f"all {duplicates} arrivals were committed before"
    before = evaluation.start.row
    polled = evaluation.start.cause is not Cause.PUSH
    written = connection.execute(
        _RECORD,
        eval_id=evaluation.eval_id,
        eval_key=evaluation.start.eval_key,
        sensor=before.name,
        trigger=evaluation.start.cause,
        status=status,
        reason=reason,
        reason_code=evaluation.reason_code,
        expected=before.state_version if polled else None,
        version=version_after(evaluation) if polled else None,
        cursor_before=before.cursor_text if polled else None,
        cursor_after=evaluation.cursor_after if polled else None,
        request_count=len(fresh),
        duplicate_count=duplicates,
        run_ids=Json(list(run_ids)),
        now=evaluation.at,
    )
    return evaluation_of(written[0])


def version_after(evaluation: Evaluation) -> int:
    """The state version that a poll leaves when its compare-and-set succeeds."""
    return evaluation.start.row.state_version + int(evaluation.status in SETTLED)


def _arrived(connection: Connection, evaluation: Evaluation) -> Iterable[Request]:
    """The requests whose arrival is not known yet; it is from now on."""
    values = {"sensor": evaluation.start.row.name, "eval_id": evaluation.eval_id, "now": evaluation.at}
    lookback = evaluation.lookback
    for key in evaluation.seen:
        connection.execute(_ARRIVE, values, key=key)
    for wanted in evaluation.requests:
        if wanted.arrival is None or connection.execute(_ARRIVE, values, key=wanted.arrival):
            yield wanted
        elif lookback is not None:
            # What is seen again stays known; half the lookback apart, so that most polls write nothing for it.
            half = evaluation.at - timedelta(seconds=lookback / 2)
            connection.execute(_SEEN_AGAIN, values, key=wanted.arrival, before=half)
    if lookback is not None and any(wanted.arrival is not None for wanted in evaluation.requests):
        connection.execute(_FORGET, values, before=evaluation.at - timedelta(seconds=lookback))


def _requested(
    connection: Connection, wanted: Iterable[Request], identity: Identity, now: datetime
) -> Iterable[Requested]:
    for one in wanted:
        if one.resolved is not None:
            requested = request(connection, one.resolved, identity=identity, now=now)
            if not requested.conflict:
                yield requested


def _deliver(connection: Connection, evaluation: Evaluation, fresh: Iterable[Request]) -> None:
    shared = {"sensor": evaluation.start.row.name, "eval_id": evaluation.eval_id, "now": evaluation.at}
    connection.executemany(
        _DELIVER,
        [
            {
                **shared,
                "partition": encode_partition(one.partition),
                "payload": None if one.payload is None else Json(one.payload),
                "status": DeliveryStatus.PENDING,
            }
            for one in fresh
        ],
    )
