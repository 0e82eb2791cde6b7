"""How connectors are, from what progressed: the queue of events, the dead letters, each task, the database's job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.connectors import instants, queues, tasks
from flowstone.connectors.events import QUEUE, dead_letters
from flowstone.connectors.tasks import ScheduledTask, TaskStatus
from flowstone.state.connection import Connection

__all__ = ["Vital", "vitals"]

LATE = timedelta(seconds=30)
"""How late a task may be, beyond the minute that the database's own job may take."""

OLD = 60
"""Seconds for which an event that is visible may wait while somebody here handles events."""

STALE = timedelta(minutes=3)
"""After which the database's own job, which runs each minute, is taken for dead."""


@dataclass(frozen=True, slots=True)
class Vital:
    """One thing and how it is: `reason` says why it is not well, or what else there is to say."""

    kind: str
    name: str
    well: bool
    reason: str | None = None


def vitals(connection: Connection, *, now: datetime, handles: bool, fires: bool) -> tuple[Vital, ...]:
    """How all is, where anything is; `handles` and `fires` say whether events and tasks are seen to here."""
    kept = instants.kept(connection)
    found = [*_queue(connection, handles), *_letters(connection)]
    every = tasks.every(connection)
    found += [_task(task, now, kept) for task in every if fires or kept]
    if kept and every:
        found.append(_job(connection))
    return tuple(found)


def _queue(connection: Connection, handles: bool) -> Iterator[Vital]:
    if not any(row.name == QUEUE for row in queues.every(connection)):
        return
    found = queues.keeper(connection, QUEUE).metrics(connection, QUEUE)
    if not found.queue_length:
        yield Vital("queue", QUEUE, True)
        return
    oldest = found.oldest_msg_age_sec or 0
    told = f"{found.queue_length} events, {found.queue_visible_length} of them visible, the oldest of {oldest} s ago"
    if not handles:
        yield Vital("queue", QUEUE, True, f"{told}; nothing here handles events")
        return
    yield Vital("queue", QUEUE, not (found.queue_visible_length and oldest > OLD), told)


def _letters(connection: Connection) -> Iterator[Vital]:
    letters = dead_letters(connection)
    if letters:
        last = letters[-1]
        told = f"{len(letters)} dead letters, the last of type {last.event_type}: {last.error}"
        yield Vital("queue", "dead letters", False, told)


def _task(task: ScheduledTask, now: datetime, kept: bool) -> Vital:
    if task.status is TaskStatus.INVALID:
        return Vital("task", task.name, False, f"invalid: {task.error}")
    if task.status is TaskStatus.WAITING:
        return Vital("task", task.name, False, f"{task.status}: a runtime that starts computes them")
    due = task.wake_at()
    patience = LATE + instants.GRACE if kept else LATE
    if due is not None and not task.edited and now > due + patience:
        return Vital("task", task.name, False, f"it is overdue by {(now - due).total_seconds():.0f} s")
    return Vital("task", task.name, True, None if task.enabled else "disabled")


def _job(connection: Connection) -> Vital:
    last, now = instants.last_run(connection), connection.execute("select clock_timestamp() as now")[0].now
    if last is None:
        return Vital("job", "pg_cron", True, "it has not run yet")
    if now - last > STALE:
        silent = (now - last).total_seconds()
        return Vital("job", "pg_cron", False, f"it ran last {silent:.0f} s ago: is pg_cron's launcher alive?")
    return Vital("job", "pg_cron", True)
