"""The health of a service in another process, from what the store tells of it.

Everything is computed from progress, by the rules of `flowstone.health`: when its node was last heard of, which
schedule or sensor should have moved since, and how long a run has waited that might have begun.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.health import LATE, SILENT, Health, HealthStatus, Part, schedule_part, sensor_part
from flowstone.runs.backlog import Backlog, backlog
from flowstone.schedules import store as schedule_store
from flowstone.sensors import store as sensor_store
from flowstone.sensors.outbox import waiting
from flowstone.sensors.rows import SensorRow, SensorStatus
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection
from flowstone.state.inspection import NodeRow, nodes

__all__ = ["LONGEST_WAIT", "Vitals", "roughly", "vitals"]

LONGEST_WAIT = 900.0
"""Seconds that a run which might begin may wait, where nobody says otherwise."""

POLL_TIMEOUT = 60.0
"""The timeout of a poll, in seconds, where the pipeline is not there to name it."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """The health of a service, its nodes and its queue; `age` is the longest that a run waits which might begin."""

    health: Health
    nodes: tuple[NodeRow, ...]
    queue: Backlog
    age: float | None


def vitals(
    connection: Connection,
    now: datetime,
    *,
    local: bool,
    longest_wait: float = LONGEST_WAIT,
    specs: Mapping[str, SensorSpec] | None = None,
) -> Vitals:
    """How a service is at `now`; a run that might begin may wait for `longest_wait` seconds.

    `local` says that whoever serves the store does so on a machine whose processes can be seen from here; `specs` are
    the sensors whose definitions are known.
    """
    heard = nodes(connection)
    queue = backlog(connection, now=now, since=now)
    age = None if queue.passed_over is None else max(0.0, (now - queue.passed_over).total_seconds())
    parts = [
        _service(heard, now, local=local),
        *(schedule_part(row, now) for row in schedule_store.every(connection)),
        *_sensors(connection, now, specs or {}),
        _queue(queue, age, longest_wait),
    ]
    return Vitals(Health.of(parts), heard, queue, age)


def roughly(seconds: float) -> str:
    """A duration as people say it.

    >>> roughly(95), roughly(3600), roughly(90_000)
    ('95 s', '60 min', '25 h')
    """
    for unit, length, least in (("days", 86_400, 172_800), ("h", 3600, 7200), ("min", 60, 100)):
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _service(heard: tuple[NodeRow, ...], now: datetime, *, local: bool) -> Part:
    """The service, which is down when none of its nodes lives."""
    if not heard:
        return Part("service", "runtime", HealthStatus.DOWN, "no runtime ever served this store")
    told = f"node {heard[0].name}, process {heard[0].pid}"
    if any(_lives(node, now, local=local) for node in heard):
        return Part("service", "runtime", HealthStatus.OK, told)
    ago = roughly((now - heard[0].heartbeat_at).total_seconds())
    return Part("service", "runtime", HealthStatus.DOWN, f"{told} was last heard of {ago} ago")


def _lives(node: NodeRow, now: datetime, *, local: bool) -> bool:
    if node.ended_at is not None or (now - node.heartbeat_at).total_seconds() > SILENT:
        return False
    # A service that has ended is not to look alive until its last heartbeat is old.
    return not (local and node.host == socket.gethostname()) or _exists(node.pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sensors(connection: Connection, now: datetime, specs: Mapping[str, SensorSpec]) -> Iterator[Part]:
    owed = waiting(connection, now)
    for row in sensor_store.list_sensors(connection):
        spec = specs.get(row.name)
        part = sensor_part(row, spec, now, owed=owed.get(row.name))
        late = 0.0 if spec is not None or part.status is not HealthStatus.OK else _late(row, now)
        if late > LATE + POLL_TIMEOUT:
            part = Part("sensor", row.name, HealthStatus.DEGRADED, f"its poll is overdue by {late:.0f} s")
        yield part


def _late(row: SensorRow, now: datetime) -> float:
    """The seconds by which the poll of a sensor is late whose definition is not at hand."""
    if row.status is not SensorStatus.ACTIVE or row.next_poll_at is None or row.interval is None:
        return 0.0
    # Whoever changed the sensor began its interval anew.
    return (now - max(row.next_poll_at, row.updated_at + timedelta(seconds=row.interval))).total_seconds()


def _queue(queue: Backlog, age: float | None, longest: float) -> Part:
    told = f"{queue.queued} due, {queue.running} in progress"
    if age is None or age <= longest:
        return Part("queue", "runs", HealthStatus.OK, told)
    return Part("queue", "runs", HealthStatus.DEGRADED, f"{told}; one that may begin waits since {roughly(age)}")
