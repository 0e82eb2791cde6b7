"""Sensors' definitions in the store: written at start and when one is added or removed.

What the store knows of a sensor, its cursor above all, is kept when the definition changes, leaves the code and
returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from flowstone.audit.store import record
from flowstone.sensors.configuration import import_path
from flowstone.sensors.rows import Fault, SensorRow, sensor_of, standing
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import Json

__all__ = ["define", "define_all", "withdraw"]

_INSERT = """
    insert into sensor (
        name, kind, type, config, definition, definition_version, interval, dedupe, status, reason, faults,
        cursor, state_version, consecutive_failures, last_epoch, last_evaluation_at, next_poll_at, orphaned, removed,
        created_at, updated_at
    ) values (
        :name, :kind, :type, :config, :definition, 1, :interval, :dedupe, 'active', null, :faults,
        null, 0, 0, null, null, :next_poll_at, false, false, :now, :now
    )
"""
_UPDATE = """
    update sensor set
        kind = :kind, type = :type, config = :config, definition = :definition, definition_version = :version,
        interval = :interval, dedupe = :dedupe, status = :status, reason = :reason, faults = :faults,
        orphaned = false, removed = false, updated_at = :now
    where name = :name
"""
_TOLD = ("kind", "type", "config", "interval", "dedupe")
_ORPHAN = "update sensor set orphaned = true, updated_at = :now where name = :name"


def define_all(connection: Connection, specs: Iterable[SensorSpec], *, actor: str, now: datetime) -> None:
    """Write the definitions of all sensors in the code; those that the store knows besides are orphaned.

    Faults that belong to a process, as abandoned threads and crashes do, ended with it.
    """
    names = {define(connection, spec, actor=actor, now=now).name for spec in specs}
    for row in connection.execute("select name from sensor where orphaned = false and removed = false order by name"):
        if row.name not in names:
            connection.execute(_ORPHAN, name=row.name, now=now)
            _note(connection, "orphaned", row.name, actor, now, {})


def define(connection: Connection, spec: SensorSpec, *, actor: str, now: datetime) -> SensorRow:
    """Write one definition, and return the row; a sensor that the store knows goes on where it was."""
    values = {
        "name": spec.name,
        "kind": spec.sensor.kind,
        "type": import_path(spec.type),
        "config": spec.config,
        "definition": spec.definition(),
        "interval": spec.every,
        "dedupe": str(spec.dedupe),
        "now": now,
    }
    found = connection.execute("select * from sensor where name = :name", name=spec.name)
    if found:
        _update(connection, values, found[0], actor)
    else:
        due = None if spec.every is None else now + timedelta(seconds=spec.every)
        connection.execute(_INSERT, values, faults=Json([]), next_poll_at=due)
        _note(connection, "created", spec.name, actor, now, {key: values[key] for key in _TOLD})
    return sensor_of(connection.execute("select * from sensor where name = :name", name=spec.name)[0])


def withdraw(connection: Connection, name: str, *, actor: str, now: datetime) -> None:
    """Take a sensor off the list; its cursor and history stay for when it returns."""
    connection.execute("update sensor set removed = true, updated_at = :now where name = :name", name=name, now=now)
    _note(connection, "removed", name, actor, now, {})


def _update(connection: Connection, values: dict[str, Any], found: Row, actor: str) -> None:
    changed = found.definition != values["definition"]
    version = found.definition_version + int(changed)
    known = sensor_of(found)
    faults = known.faults & {Fault.FAILURES}
    status, reason = standing(faults, paused=known.paused, reason=known.reason)
    changes = {"version": version, "status": status, "reason": reason, "faults": Json(sorted(faults))}
    connection.execute(_UPDATE, {**values, **changes})
    if known.orphaned or known.removed:
        _note(connection, "returned", known.name, actor, values["now"], {"version": version})
    if changed:
        before = {key: str(getattr(known, key)) for key in _TOLD}
        differs = {key: values[key] for key in _TOLD if str(values[key]) != before[key]}
        _note(connection, "changed", known.name, actor, values["now"], {"version": version, **differs})


def _note(
    connection: Connection, event: str, name: str, actor: str, now: datetime, details: Mapping[str, object]
) -> None:
    """Write into the audit what became of a sensor's definition."""
    record(connection, f"sensor.{event}", actor=actor, resource=f"sensor:{name}", details=details, at=now)
