"""Pause, resume, reset and rewind: what people do to a sensor's state.

Each raises the state version, so that what a poll in progress saw is no longer committed. Each is one transaction with
its audit row, and needs no actor.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from flowstone.audit.store import record
from flowstone.errors import ValidationError, shown
from flowstone.runs.store import free_key
from flowstone.sensors.rows import Cause, Fault, SensorRow, standing
from flowstone.sensors.store import read
from flowstone.state.connection import Connection
from flowstone.state.fields import Json

__all__ = ["pause", "reset", "resume", "rewind"]

_WRITE = """
    update sensor set
        cursor = :cursor, state_version = state_version + 1, consecutive_failures = :failures, faults = :faults,
        status = :status, reason = :reason, updated_at = :now
    where name = :name
"""
_TAKEN_SINCE = """
    select run_key from run where source_kind = 'sensor' and source_name = :name and evaluation_id in (
        select eval_id from evaluation where sensor = :name and id > :last
    )
"""
_ARRIVED_SINCE = """
    delete from arrival where sensor = :name and eval_id in (
        select eval_id from evaluation where sensor = :name and id > :last
    )
"""


def pause(connection: Connection, name: str, *, reason: str | None, actor: str, now: datetime) -> SensorRow:
    """Let the sensor rest until it is resumed.

    Raises:
        SensorNotFound: there is no such sensor.
    """
    row = replace(read(connection, name), paused=True, reason=reason)
    return _write(connection, row, "paused", {"reason": reason}, actor, now)


def resume(connection: Connection, name: str, *, actor: str, now: datetime) -> SensorRow:
    """Let the sensor go on; failures until now are forgotten.

    Raises:
        SensorNotFound: there is no such sensor.
    """
    return _write(connection, _recovered(replace(read(connection, name), paused=False)), "resumed", {}, actor, now)


def reset(
    connection: Connection, name: str, cursor: str | None, *, forget: bool, actor: str, now: datetime
) -> SensorRow:
    """Let the sensor go on from `cursor`, None being before its first state; `forget` lets all arrivals arrive again.

    Raises:
        SensorNotFound: there is no such sensor.
    """
    before = read(connection, name)
    row = _recovered(replace(before, cursor_text=cursor))
    if forget:
        connection.execute("delete from arrival where sensor = :name", name=name)
    details = {"before": before.cursor, "cursor": row.cursor, "forget": forget}
    return _write(connection, row, "reset", details, actor, now)


def rewind(connection: Connection, name: str, to: str, *, actor: str, now: datetime) -> SensorRow:
    """Let the sensor go on from where the evaluation `to` left it, as if the later ones had not been.

    Their run keys are free again and their arrivals forgotten, so that what they triggered is triggered again.

    Raises:
        SensorNotFound: there is no such sensor.
        ValidationError: it has no such evaluation, or that one is a push's, which knows no cursor.
    """
    before = read(connection, name)
    found = connection.execute("select * from evaluation where sensor = :name and eval_id = :id", name=name, id=to)
    if not found:
        raise ValidationError(f"expected `to` to be the eval_id of an evaluation of sensor {name!r}, got: {shown(to)}")
    if found[0].trigger == Cause.PUSH:
        raise ValidationError(
            f"expected `to` to be an evaluation that left a cursor; {to} is of a message that was pushed to sensor "
            f"{name!r}, which leaves none: give the eval_id of a poll"
        )
    last = found[0].id
    for taken in connection.execute(_TAKEN_SINCE, name=name, last=last):
        free_key(connection, taken.run_key)
    connection.execute(_ARRIVED_SINCE, name=name, last=last)
    row = replace(before, cursor_text=found[0].cursor_after)
    details = {"to": to, "before": before.cursor, "cursor": row.cursor}
    return _write(connection, row, "rewound", details, actor, now)


def _recovered(row: SensorRow) -> SensorRow:
    return replace(row, consecutive_failures=0, faults=row.faults - {Fault.FAILURES})


def _write(
    connection: Connection, row: SensorRow, event: str, details: dict[str, object], actor: str, now: datetime
) -> SensorRow:
    status, reason = standing(row.faults, paused=row.paused, reason=row.reason)
    connection.execute(
        _WRITE,
        name=row.name,
        cursor=row.cursor_text,
        failures=row.consecutive_failures,
        faults=Json(sorted(row.faults)),
        status=status,
        reason=reason,
        now=now,
    )
    record(connection, f"sensor.{event}", actor=actor, resource=f"sensor:{row.name}", details=details, at=now)
    return read(connection, row.name)
