"""Events: one row of the log and one message of the queue, written together; what became of them; the dead letters.

The id of an event tells what it is: `task:{task}:{epoch seconds}` for an instant of a scheduled task, `evt_…` for one
that was emitted. The log's index on it makes a second writer a no-op.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.connectors import queues
from flowstone.connectors.message import Message, check_message
from flowstone.core.names import check_name
from flowstone.errors import ValidationError, shown
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_text, json_value
from flowstone.state.page import Page, page

__all__ = [
    "QUEUE",
    "DeadLetter",
    "Emission",
    "Event",
    "EventRow",
    "Result",
    "attempted",
    "bury",
    "dead_letters",
    "emission",
    "emit",
    "event_of",
    "log",
    "log_of",
    "requeue",
]

QUEUE = "flowstone_events"
"""The queue that holds events until they are handled."""

_LOG = """
    insert into event_log (event_id, event_type, task, payload, scheduled_for, at)
    values (:event_id, :event_type, :task, :payload, :scheduled_for, :now) on conflict do nothing
"""
_ATTEMPT = """
    insert into event_attempt (event_id, attempt, result, error, duration, at)
    values (:event_id, :attempt, :result, :error, :duration, :now)
"""
_OF_LAST = "from event_attempt where event_attempt.event_id = event_log.event_id order by id desc limit 1"
_ROWS = f"(select *, (select result {_OF_LAST}) as result, (select at {_OF_LAST}) as result_at from event_log) as log"
_RUNS = """
    select run_id from run_key where key = :key or (key > :key || ':' and key < :key || ';') order by key
"""
_BURY = """
    insert into dead_letter (id, event_type, payload, error, deliveries, at)
    values (:event_id, :event_type, :payload, :error, :deliveries, :now) on conflict do nothing
"""
_DEAD = "select * from dead_letter order by at, id"


class Result(enum.StrEnum):
    """What became of an event so far."""

    PENDING = "pending"
    HANDLED = "handled"
    FAILED = "failed"
    DEAD = "dead"
    REQUEUED = "requeued"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Event:
    """What a handler gets; `delivery` counts from 1."""

    id: str
    event_type: str
    payload: Any
    task: str | None = None
    scheduled_for: datetime | None = None
    delivery: int = 1


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the log.

    `result` is that of the last attempt, `pending` before the first; `lag` the seconds from its instant, or from its
    emission, to that attempt, None before it; `run_ids` are the runs that its handler asked for.
    """

    id: str
    task: str | None
    event_type: str
    payload: Any
    scheduled_for: datetime | None
    at: datetime
    result: Result
    lag: float | None
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that nobody could handle."""

    id: str
    event_type: str
    payload: Any
    error: str
    deliveries: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Emission:
    """An event that is to be emitted, checked; `payload` is its JSON text."""

    event_type: str
    payload: str
    task: str | None = None
    scheduled_for: datetime | None = None


def emission(event_type: object, payload: object) -> Emission:
    """An event of this type and payload, to be emitted.

    Raises:
        ValidationError: the type is no name, or JSON can't hold the payload.
    """
    return Emission(check_name("event type", event_type), check_message(payload, "a payload"))


def log(connection: Connection, event_id: str, asked: Emission, *, now: datetime) -> bool:
    """Write an event to the log alone; whether it was not there yet."""
    written = connection.change(
        _LOG,
        event_id=event_id,
        event_type=asked.event_type,
        task=asked.task,
        payload=asked.payload,
        scheduled_for=asked.scheduled_for,
        now=now,
    )
    return bool(written)


def emit(connection: Connection, event_id: str, asked: Emission, *, now: datetime) -> bool:
    """Write an event to the log and to the queue; whether it was not there yet."""
    if not log(connection, event_id, asked, now=now):
        return False
    queues.create(connection, QUEUE)
    _send(connection, event_id, asked.event_type, json_value(asked.payload), asked.task, asked.scheduled_for)
    return True


def event_of(message: Message) -> Event:
    """The event that a message of the queue holds, whoever wrote it."""
    content = message.message if isinstance(message.message, dict) else {}
    moment = content.get("scheduled_for")
    return Event(
        id=str(content.get("id", f"msg_{message.msg_id}")),
        event_type=str(content.get("event_type", "")),
        payload=content.get("payload", message.message),
        task=content.get("task"),
        scheduled_for=instant(moment) if isinstance(moment, str) else None,
        delivery=message.read_ct,
    )


def attempted(
    connection: Connection,
    event_id: str,
    result: Result,
    *,
    attempt: int,
    now: datetime,
    error: str | None = None,
    duration: float | None = None,
) -> None:
    """Write what came of handing an event to its handler."""
    values = {"attempt": attempt, "result": result, "error": error, "duration": duration}
    connection.execute(_ATTEMPT, values, event_id=event_id, now=now)


def bury(connection: Connection, event: Event, error: str, *, now: datetime) -> None:
    """Put an event to the dead letters, with its error; the caller takes its message out of the queue."""
    connection.execute(
        _BURY,
        event_id=event.id,
        event_type=event.event_type,
        payload=json_text(event.payload),
        error=error,
        deliveries=event.delivery,
        now=now,
    )
    attempted(connection, event.id, Result.DEAD, attempt=event.delivery, now=now, error=error)


def requeue(connection: Connection, event_id: str, *, now: datetime) -> Event:
    """Put a dead letter back into the queue, as if it had never been delivered.

    Raises:
        ValidationError: there is no dead letter of this id.
    """
    rows = connection.execute("select * from dead_letter where id = :id", id=event_id)
    if not rows:
        raise ValidationError(f"expected the id of a dead letter, got: {shown(event_id)}", id=event_id)
    row = rows[0]
    connection.execute("delete from dead_letter where id = :id", id=event_id)
    logged = connection.execute("select task, scheduled_for from event_log where event_id = :id", id=event_id)
    task, moment = (logged[0].task, instant(logged[0].scheduled_for)) if logged else (None, None)
    attempted(connection, event_id, Result.REQUEUED, attempt=row.deliveries, now=now)
    queues.create(connection, QUEUE)
    _send(connection, event_id, row.event_type, json_value(row.payload), task, moment)
    return Event(event_id, row.event_type, json_value(row.payload), task, moment)


def dead_letters(connection: Connection) -> tuple[DeadLetter, ...]:
    """The events that nobody could handle, oldest first."""
    return tuple(map(_dead_letter, connection.execute(_DEAD)))


def log_of(
    connection: Connection,
    *,
    task: str | None = None,
    event_type: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[EventRow]:
    """Events of the log, newest first, `limit` at a time.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"task": task, "event_type": event_type}
    return page(connection, _ROWS, lambda row: _row(connection, row), filters, limit=limit, cursor=cursor)


def _send(
    connection: Connection, id: str, event_type: str, payload: Any, task: str | None, moment: datetime | None
) -> None:
    content = {"id": id, "event_type": event_type, "payload": payload, "task": task, "scheduled_for": moment}
    text = json_text({**content, "scheduled_for": None if moment is None else moment.isoformat()})
    queues.keeper(connection, QUEUE).send(connection, QUEUE, [text], None, 0.0)


def _row(connection: Connection, row: Row) -> EventRow:
    since, until = instant(row.scheduled_for or row.at), instant(row.result_at)
    return EventRow(
        id=row.event_id,
        task=row.task,
        event_type=row.event_type,
        payload=json_value(row.payload),
        scheduled_for=instant(row.scheduled_for),
        at=instant(row.at),
        result=Result(row.result or Result.PENDING),
        lag=None if until is None else (until - since).total_seconds(),
        run_ids=tuple(run.run_id for run in connection.execute(_RUNS, key=f"event:{row.event_id}")),
    )


def _dead_letter(row: Row) -> DeadLetter:
    return DeadLetter(row.id, row.event_type, json_value(row.payload), row.error, row.deliveries, instant(row.at))
