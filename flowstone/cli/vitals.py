"""The health of a service in another process, from what the store tells of it.

Everything is computed from progress: when its node was last heard of, which schedule or sensor should have moved since,
and how long the oldest run that is due has waited.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.errors import CronError
from flowstone.health import Health, HealthStatus, Part
from flowstone.schedules import store as schedule_store
from flowstone.schedules.rows import ScheduleRow, ScheduleStatus
from flowstone.sensors import store as sensor_store
from flowstone.sensors.rows import SensorRow, SensorStatus
from flowstone.state.connection import Connection
from flowstone.state.fields import instant
from flowstone.state.inspection import NodeRow, nodes

__all__ = ["SILENT", "Queue", "Vitals", "roughly", "vitals"]

SILENT = 30.0
"""Seconds without a heartbeat after which a node is taken for dead."""

LATE = 30.0
"""Seconds that a tick or a poll may be late, beside its jitter and the sensor's timeout."""

POLL_TIMEOUT = 60.0
"""The timeout of a poll, in seconds, where the pipeline is not there to name it."""

_QUEUE = """
    select count(*) as due, min(ready_at) as oldest from run
    where status = 'queued' and ready_at <= :now and not behind
"""
_RUNNING = "select count(*) as n from run where status = 'running'"


@dataclass(frozen=True, slots=True)
class Queue:
    """Runs that are due and wait, runs in progress, and how long the oldest of the first has waited, in seconds."""

    due: int
    running: int
    age: float | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """The health of a service, its nodes, and its queue."""

    health: Health
    nodes: tuple[NodeRow, ...]
    queue: Queue


def vitals(
    connection: Connection,
    now: datetime,
    *,
    longest_wait: float,
    local: bool,
    timeouts: Mapping[str, float] | None = None,
) -> Vitals:
    """How a service is at `now`; a run that is due may wait for `longest_wait` seconds.

    `local` says that whoever serves the store does so on a machine whose processes can be seen from here; `timeouts`
    are those of the sensors whose definitions are known, in seconds.
    """
    heard, queue = nodes(connection), _queue(connection, now)
    down = _silence(heard, now, local=local)
    parts = tuple(
        (
            *down,
            *(part for row in schedule_store.every(connection) for part in _schedule(row, now)),
            *(part for row in sensor_store.list_sensors(connection) for part in _sensor(row, now, timeouts or {})),
            *_waiting(queue, longest_wait),
        )
    )
    status = HealthStatus.DOWN if down else HealthStatus.DEGRADED if parts else HealthStatus.OK
    return Vitals(Health(status, parts), heard, queue)


def roughly(seconds: float) -> str:
    """A duration as people say it.

    >>> roughly(95), roughly(3600), roughly(90_000)
    ('95 s', '60 min', '25 h')
    """
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or unit == "min" and seconds >= 100:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _silence(heard: tuple[NodeRow, ...], now: datetime, *, local: bool) -> tuple[Part, ...]:
    """The service, when none of its nodes lives."""
    if any(_lives(node, now, local=local) for node in heard):
        return ()
    reason = "no runtime ever served this store"
    if heard:
        ago = roughly((now - heard[0].heartbeat_at).total_seconds())
        reason = f"last heard of node {heard[0].name}, process {heard[0].pid}, {ago} ago"
    return (Part("service", "runtime", HealthStatus.DOWN, reason),)


def _lives(node: NodeRow, now: datetime, *, local: bool) -> bool:
    if (now - node.heartbeat_at).total_seconds() > SILENT:
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


def _schedule(row: ScheduleRow, now: datetime) -> Iterator[Part]:
    if row.status is not ScheduleStatus.ACTIVE:
        return
    if row.accounted_until > now + timedelta(seconds=LATE):
        reason = f"its account is ahead of the clock, until {row.accounted_until:%Y-%m-%d %H:%M:%S}Z: resume it"
        yield Part("schedule", row.name, HealthStatus.DEGRADED, reason)
        return
    try:
        due = row.timing.next_after(row.accounted_until)
    except CronError:
        return
    late = (now - due).total_seconds() - row.jitter
    if late > LATE:
        yield Part("schedule", row.name, HealthStatus.DEGRADED, _overdue("tick", due, late))


def _sensor(row: SensorRow, now: datetime, timeouts: Mapping[str, float]) -> Iterator[Part]:
    if row.status is SensorStatus.BROKEN:
        yield Part("sensor", row.name, HealthStatus.DEGRADED, f"broken: {row.reason}")
    elif row.status is SensorStatus.ACTIVE and row.next_poll_at is not None:
        late = (now - row.next_poll_at).total_seconds() - timeouts.get(row.name, POLL_TIMEOUT)
        if late > LATE:
            yield Part("sensor", row.name, HealthStatus.DEGRADED, _overdue("poll", row.next_poll_at, late))


def _overdue(what: str, due: datetime, late: float) -> str:
    return f"its {what} of {due:%Y-%m-%d %H:%M:%S}Z is overdue by {roughly(late)}"


def _queue(connection: Connection, now: datetime) -> Queue:
    row = connection.execute(_QUEUE, now=now)[0]
    oldest: datetime | None = instant(row.oldest)
    age = None if oldest is None else max(0.0, (now - oldest).total_seconds())
    return Queue(row.due, connection.execute(_RUNNING)[0].n, age)


def _waiting(queue: Queue, longest: float) -> Iterator[Part]:
    if queue.age is not None and queue.age > longest:
        reason = f"{queue.due} runs are due, the oldest for {roughly(queue.age)}"
        yield Part("queue", "runs", HealthStatus.DEGRADED, reason)
