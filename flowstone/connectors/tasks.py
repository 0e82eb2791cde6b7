"""Scheduled tasks: rows that people may write by plain SQL, and what fires of them, in one transaction each.

A task fires by the rules of schedules, with their defaults: late instants count as misfires, of which the newest fires
when it is no older than a day; what does not fire is logged as missed. A task that was written or edited by SQL begins
at the moment at which that is noticed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flowstone.connectors import events
from flowstone.connectors.events import Emission, Result
from flowstone.connectors.message import check_message
from flowstone.core.names import check_name
from flowstone.cron import Cron, Timing
from flowstone.errors import CronError, ValidationError, did_you_mean, shown
from flowstone.failpoints import failpoint
from flowstone.schedules.due import Account, decide
from flowstone.schedules.policies import Misfire
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_text, json_value

__all__ = [
    "Fired",
    "ScheduledTask",
    "TaskStatus",
    "begin",
    "change",
    "checked",
    "delete",
    "every",
    "find",
    "fire",
    "insert",
]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = "name, cron_expression, event_type, payload, timezone, enabled, updated_at, accounted_until, timing"
_WAITING = "tasks_kept() and not exists (select from scheduled_task_instant where task = scheduled_tasks.name)"
_INSERT = """
    insert into scheduled_tasks (
        name, cron_expression, event_type, payload, timezone, enabled, accounted_until, timing
    ) values (:name, :cron_expression, :event_type, :payload, :timezone, :enabled, :now, :timing)
    on conflict do nothing
"""
_CHANGE = """
    update scheduled_tasks set cron_expression = :cron_expression, event_type = :event_type, payload = :payload,
    timezone = :timezone, enabled = :enabled where name = :name
"""
_ACCOUNT = """
    update scheduled_tasks set accounted_until = :accounted_until, timing = :timing, updated_at = :updated_at
    where name = :name
"""


class TaskStatus(enum.StrEnum):
    """How a task is: it fires, it was disabled, or what was written by SQL makes no sense.

    Where the database itself fires, one whose instants ahead are not computed yet waits for them.
    """

    ACTIVE = "active"
    WAITING = "waiting for instants"
    DISABLED = "disabled"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """A task that emits events of a type at the instants of a cron expression in a zone.

    `updated_at` is when it last fired, `error` what is wrong with one that SQL wrote.
    """

    name: str
    cron_expression: str
    event_type: str
    payload: Any
    timezone: str
    enabled: bool
    updated_at: datetime | None
    accounted_until: datetime | None
    edited: bool
    waiting: bool = False

    @property
    def timing(self) -> Timing:
        """Its instants.

        Raises:
            CronError: the expression or the zone is wrong.
        """
        return Cron(self.cron_expression, self.timezone, name=self.name)

    @property
    def error(self) -> str | None:
        """What is wrong with it; None when nothing is."""
        try:
            checked(self.name, self.options)
        except ValidationError as error:
            return str(error)
        return None

    @property
    def status(self) -> TaskStatus:
        """How it is."""
        if self.error is not None:
            return TaskStatus.INVALID
        if not self.enabled:
            return TaskStatus.DISABLED
        return TaskStatus.WAITING if self.waiting else TaskStatus.ACTIVE

    @property
    def options(self) -> dict[str, Any]:
        """What people choose of it."""
        return {
            "cron_expression": self.cron_expression,
            "event_type": self.event_type,
            "payload": self.payload,
            "timezone": self.timezone,
            "enabled": self.enabled,
        }

    def wake_at(self) -> datetime | None:
        """When it has to be looked at next; None when nothing is due of it. At once where SQL has written it."""
        if self.error is not None or not self.enabled:
            return None
        if self.edited or self.accounted_until is None:
            return _LONG_AGO
        try:
            return self.timing.next_after(self.accounted_until)
        except CronError:
            return None


@dataclass(frozen=True, slots=True)
class Fired:
    """What a look at the tasks has written: the instants that fired, and those that were missed, with how many."""

    task: str
    scheduled_for: datetime
    fired: bool
    count: int = 1
    reason: str | None = None


def checked(name: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task, when they make sense; the payload as JSON text.

    Raises:
        CronError: a bad cron expression or zone.
        ValidationError: the name, the event type, the payload or `enabled` is wrong.
    """
    task = check_name("scheduled task", name)
    if not isinstance(options["enabled"], bool):
        raise ValidationError(f"expected enabled to be True or False, got: {shown(options['enabled'])}")
    Cron(options["cron_expression"], options["timezone"], name=task)
    return {
        "name": task,
        "cron_expression": options["cron_expression"],
        "event_type": check_name("event type", options["event_type"]),
        "payload": check_message(options["payload"], "a payload"),
        "timezone": options["timezone"],
        "enabled": options["enabled"],
    }


def every(connection: Connection) -> tuple[ScheduledTask, ...]:
    """All tasks, by name."""
    waiting = _WAITING if connection.dialect == "postgresql" else "false"
    sql = f"select {_COLUMNS}, {waiting} as waiting from scheduled_tasks order by name"
    return tuple(_task(row, waiting=bool(row.waiting)) for row in connection.execute(sql))


def find(connection: Connection, name: str) -> ScheduledTask:
    """The task of this name, as it stays until the transaction ends.

    Raises:
        ValidationError: there is none.
    """
    sql = f"select {_COLUMNS} from scheduled_tasks where name = :name" + connection.lock("scheduled_tasks")
    rows = connection.execute(sql, name=name)
    if not rows:
        hint = did_you_mean(name, [task.name for task in every(connection)])
        raise ValidationError(f"expected the name of a scheduled task, got: {shown(name)}{hint}", name=name)
    return _task(rows[0])


def insert(connection: Connection, options: Mapping[str, Any], *, now: datetime) -> bool:
    """Write a task, from what `checked` gave; whether there was none of its name."""
    return bool(connection.change(_INSERT, options, now=now, timing=_timing_text(options)))


def change(connection: Connection, task: ScheduledTask, options: Mapping[str, Any], *, now: datetime) -> None:
    """Change a task to what `checked` gave; with another timing, or enabled again, it begins anew now."""
    connection.execute(_CHANGE, options)
    begins = _timing_text(options) != _timing_text(task.options) or (options["enabled"] and not task.enabled)
    if begins:
        _account(connection, task.name, _timing_text(options), until=now, fired_at=task.updated_at)


def delete(connection: Connection, name: str) -> None:
    """Remove a task; what it emitted stays."""
    connection.execute("delete from scheduled_tasks where name = :name", name=name)


def fire(connection: Connection, name: str, *, now: datetime) -> list[Fired]:
    """Do what is due of a task, as its row is now: its events, its misses, and how far it has been seen to."""
    try:
        task = find(connection, name)
    except ValidationError:
        return []
    if task.error is not None:
        return []
    timing = _timing_text(task.options)
    if task.edited or task.accounted_until is None or not task.enabled:
        begin(connection, task, now=now)
        return []
    decision = decide(_Accounted(task, task.accounted_until), now)
    written = [_write(connection, task, account, now) for account in decision.accounts]
    fired = [one for one in written if one.fired]
    if decision.accounts:
        at = now if fired else task.updated_at
        _account(connection, name, timing, until=decision.accounted_until, fired_at=at)
    failpoint("task.before_commit")
    return written


def begin(connection: Connection, task: ScheduledTask, *, now: datetime) -> None:
    """Let the account of a task begin now: nothing of it fires for the past."""
    _account(connection, task.name, _timing_text(task.options), until=now, fired_at=task.updated_at)


class _Accounted:
    """A task whose account has begun, as decisions see it."""

    orphaned = False
    misfire = Misfire()
    jitter = 0.0

    def __init__(self, task: ScheduledTask, accounted_until: datetime) -> None:
        self.name, self.timing, self.enabled = task.name, task.timing, task.enabled
        self.accounted_until = accounted_until


def _write(connection: Connection, task: ScheduledTask, account: Account, now: datetime) -> Fired:
    event_id = f"task:{task.name}:{int(account.last.timestamp())}"
    asked = Emission(task.event_type, json_text(task.payload), task.name, account.last)
    if account.fires:
        events.emit(connection, event_id, asked, now=now)
        return Fired(task.name, account.last, True)
    why = f"{account.count} from {account.first.isoformat()} to {account.last.isoformat()}: {account.reason}"
    if events.log(connection, event_id, asked, now=now):
        events.attempted(connection, event_id, Result.MISSED, attempt=0, now=now, error=why)
    return Fired(task.name, account.last, False, account.count, account.reason)


def _account(connection: Connection, name: str, timing: str, *, until: datetime, fired_at: datetime | None) -> None:
    connection.execute(_ACCOUNT, name=name, timing=timing, accounted_until=until, updated_at=fired_at)


def _timing_text(options: Mapping[str, Any]) -> str:
    return f"{options['cron_expression']} ({options['timezone']})"


def _task(row: Row, *, waiting: bool = False) -> ScheduledTask:
    options = {"cron_expression": row.cron_expression, "timezone": row.timezone}
    return ScheduledTask(
        name=row.name,
        cron_expression=row.cron_expression,
        event_type=row.event_type,
        payload=json_value(row.payload),
        timezone=row.timezone,
        enabled=bool(row.enabled),
        updated_at=instant(row.updated_at),
        accounted_until=instant(row.accounted_until),
        edited=row.timing != _timing_text(options),
        waiting=waiting,
    )
