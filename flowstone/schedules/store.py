"""The rows of schedules: reading, creating, changing, deleting, and what the code defines at start.

Every function works inside a transaction of its caller. A change that ends an old timing, or a pause, first gives
everything that is still due its rows, in the same transaction: no instant is without an account in between.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowstone.audit.store import record
from flowstone.errors import ScheduleNotFound, ValidationError
from flowstone.schedules.due import settle
from flowstone.schedules.rows import COLUMNS, NO_CODE, ScheduleRow, Tick, read_policies
from flowstone.schedules.schedule import TIMING, Schedule
from flowstone.schedules.ticks import write_accounts
from flowstone.state.connection import Connection
from flowstone.state.fields import Json, json_text, json_value

__all__ = ["change", "create", "delete", "every", "find", "get", "locked", "mark", "note", "register"]

_INSERT = """
    insert into schedule (
        name, target, cron, every, timezone, gap, fold, partition_rule, misfire, overlap, dedupe, jitter, enabled,
        metadata, version, definition, origin, orphaned, created_at, updated_at, accounted_until
    ) values (
        :name, :target, :cron, :every, :timezone, :gap, :fold, :partition_rule, :misfire, :overlap, :dedupe, :jitter,
        :enabled, :metadata, :version, :definition, :origin, :orphaned, :created_at, :updated_at, :accounted_until
    ) on conflict (name) do nothing returning name
"""
_LOCK = f"update schedule set version = version where name = :name returning {COLUMNS}"
_UPDATE = """
    update schedule set
        target = :target, cron = :cron, every = :every, timezone = :timezone, gap = :gap, fold = :fold,
        partition_rule = :partition_rule, misfire = :misfire, overlap = :overlap, dedupe = :dedupe, jitter = :jitter,
        enabled = :enabled, metadata = :metadata, version = :version, definition = :definition, origin = :origin,
        orphaned = :orphaned, updated_at = :updated_at, accounted_until = :accounted_until
    where name = :name
"""


def find(connection: Connection, name: str) -> ScheduleRow | None:
    """The schedule of this name, or None."""
    rows = connection.execute(f"select {COLUMNS} from schedule where name = :name", name=name)
    return ScheduleRow.read(rows[0]) if rows else None


def get(connection: Connection, name: str) -> ScheduleRow:
    """The schedule of this name.

    Raises:
        ScheduleNotFound: there is none; suggests the nearest name.
    """
    row = find(connection, name)
    if row is None:
        known = [each["name"] for each in connection.execute("select name from schedule")]
        raise ScheduleNotFound.named(name, known)
    return row


def locked(connection: Connection, name: str) -> ScheduleRow:
    """The schedule of this name, which no other transaction changes until this one ends.

    Raises:
        ScheduleNotFound: there is none.
    """
    # An update of nothing locks the row wherever transactions run at once, and needs no dialect.
    rows = connection.execute(_LOCK, name=name)
    return ScheduleRow.read(rows[0]) if rows else get(connection, name)


def every(connection: Connection) -> tuple[ScheduleRow, ...]:
    """All schedules by name, orphaned ones included."""
    return tuple(ScheduleRow.read(row) for row in connection.execute(f"select {COLUMNS} from schedule order by name"))


def mark(connection: Connection) -> tuple[Any, ...]:
    """A value that differs when any schedule was created, changed or deleted; accounts don't matter to it."""
    sql = "select count(*) as n, coalesce(sum(version), 0) as versions, max(updated_at) as newest from schedule"
    row = connection.execute(sql)[0]
    return (row.n, row.versions, row.newest)


def create(
    connection: Connection, schedule: Schedule, now: datetime, *, actor: str, code: bool = False
) -> ScheduleRow:
    """Write a new schedule, whose first instant is strictly after `now`; `code` when a pipeline defines it.

    Raises:
        ValidationError: the name is taken.
    """
    row = ScheduleRow.new(schedule, now, code=code)
    if not connection.execute(_INSERT, _columns(row)):
        message = f"expected a new schedule name, got: {schedule.name!r}, which exists; update or delete that one"
        raise ValidationError(message, name=schedule.name)
    note(connection, "created", row.name, actor, now, row.definition())
    return row


def change(
    connection: Connection,
    row: ScheduleRow,
    changes: Mapping[str, Any],
    now: datetime,
    *,
    actor: str,
    event: str = "updated",
    code: str | None = None,
    to_now: bool = False,
    settled: Callable[[Tick], object] | None = None,
) -> ScheduleRow:
    """Write what differs, and the next version; nothing when nothing differs.

    `changes` are items of `Schedule.definition`; `code` is all that the code says now, as JSON, when the change is the
    code's.
    A new timing, and enabling what was disabled, bring the account to `now`, and so does `to_now`; `settled` is told
    of the ticks that this writes.
    """
    before, after = row.definition(), {**row.definition(), **changes}
    differs = {key: value for key, value in after.items() if value != before[key]}
    said = code is not None and (row.orphaned or row.definition_text != code)
    if not (differs or said or to_now):
        return row
    restarts = to_now or differs.get("enabled", False) or not differs.keys().isdisjoint(TIMING)
    if restarts:
        for tick in write_accounts(connection, row, settle(row, now), now):
            if settled is not None:
                settled(tick)
    changed = dataclasses.replace(
        row,
        **{**after, **read_policies(after)},
        version=row.version + 1,
        definition_text=row.definition_text if code is None else code,
        orphaned=row.orphaned and code is None,
        updated_at=now,
        accounted_until=now if restarts else row.accounted_until,
    )
    connection.execute(_UPDATE, _columns(changed))
    note(connection, event, row.name, actor, now, {"version": changed.version, **differs})
    return changed


def delete(connection: Connection, name: str, now: datetime, *, actor: str) -> None:
    """Delete a schedule; its history stays.

    Raises:
        ScheduleNotFound: there is none.
    """
    get(connection, name)
    connection.execute("delete from schedule where name = :name", name=name)
    note(connection, "deleted", name, actor, now, {})


def register(connection: Connection, schedules: Sequence[Schedule], now: datetime, *, actor: str = "code") -> None:
    """Bring the store to what the code defines.

    New ones are created. Of known ones, what the code says otherwise than when it was last read is changed; what was
    changed at run time stays. Those that left the code are orphaned, and go on where they were when they return.
    """
    sql = "select name, definition, orphaned from schedule"
    known = {row.name: (row.definition, bool(row.orphaned)) for row in connection.execute(sql)}
    for schedule in schedules:
        code = json_text(schedule.definition())
        before = known.pop(schedule.name, None)
        if before is None:
            create(connection, schedule, now, actor=actor, code=True)
        elif before != (code, False):
            row = get(connection, schedule.name)
            edits = _edits(row, schedule.definition())
            change(connection, row, edits, now, actor=actor, event="defined", code=code)
    left = [name for name, (definition, orphaned) in known.items() if definition != NO_CODE and not orphaned]
    for name in left:
        row = get(connection, name)
        orphan = dataclasses.replace(row, orphaned=True, version=row.version + 1, updated_at=now)
        connection.execute(_UPDATE, _columns(orphan))
        note(connection, "orphaned", name, actor, now, {})


def _edits(row: ScheduleRow, definition: Mapping[str, Any]) -> dict[str, Any]:
    """What the code says otherwise than when it was last read; for a schedule made at run time, than the store."""
    said = row.definition() if row.definition_text == NO_CODE else json_value(row.definition_text)
    return {key: value for key, value in definition.items() if key not in said or said[key] != value}


def note(
    connection: Connection, event: str, name: str, actor: str, now: datetime, details: Mapping[str, object]
) -> None:
    """Write into the audit what was done to a schedule."""
    record(connection, f"schedule.{event}", actor=actor, resource=f"schedule:{name}", details=details, at=now)


def _columns(row: ScheduleRow) -> dict[str, object]:
    return {
        **row.definition(),
        "misfire": Json(row.misfire.as_json()),
        "metadata": Json(dict(row.metadata)),
        "name": row.name,
        "version": row.version,
        "definition": row.definition_text,
        "origin": row.origin,
        "orphaned": row.orphaned,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "accounted_until": row.accounted_until,
    }
