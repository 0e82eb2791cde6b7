"""The health of a runtime, computed from what progressed, never from a flag that says so.

Every schedule, sensor, executor and service is a part, and so are the store and the queue of runs. What should have
moved by now and has not is not `ok`: an account of a schedule that is behind its timing, a poll that is behind its
interval, deliveries and runs that nobody takes up, a heartbeat that is not renewed. So an actor that lives and does
nothing shows, like one that is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flowstone.connectors.vitals import Vital, vitals
from flowstone.errors import FlowstoneError, StoreUnavailable
from flowstone.executors.call import Call
from flowstone.executors.threads import ThreadExecutor
from flowstone.resources.book import ResourceRow, ResourceStatus
from flowstone.runs.backlog import Backlog, backlog
from flowstone.runs.services import Services
from flowstone.schedules import store as schedules_store
from flowstone.schedules.due import ahead, overdue
from flowstone.schedules.rows import ScheduleRow
from flowstone.sensors import store as sensors_store
from flowstone.sensors.book import SensorBook
from flowstone.sensors.outbox import Waiting, waiting
from flowstone.sensors.polling import is_call_of
from flowstone.sensors.rows import SensorRow, SensorStatus
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection
from flowstone.state.assignment import SCHEDULER, Cluster, Node, polls_of
from flowstone.state.nodes import HEARTBEAT, SILENT_BEATS, cluster_of

__all__ = [
    "AHEAD",
    "LATE",
    "NOT_RUNNING",
    "SILENT",
    "Health",
    "HealthStatus",
    "Part",
    "health_of",
    "schedule_part",
    "sensor_part",
]

LATE = 30.0
"""Seconds that a tick, a poll, a delivery or a run may be behind."""

AHEAD = 1.0
"""Seconds that the account of a schedule may be ahead of the clock, as after a small correction of the clock."""

SILENT = SILENT_BEATS * HEARTBEAT
"""Seconds without a heartbeat after which the store's writer is taken for stuck."""

NAMED = 5
"""Calls that a reason names."""


class HealthStatus(enum.StrEnum):
    """The worst of all parts is the status of the whole."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a runtime: a `schedule`, `sensor`, `resource`, `executor`, `actor`, `queue`, `node`, the `store` or
    the `runtime`.

    `reason` says why it is not ok; of one that is, what else there is to say, or None.
    """

    kind: str
    name: str
    status: HealthStatus
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is {self.status}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Health:
    """The status of the whole, and all parts; the text names those that are not `ok`."""

    status: HealthStatus
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Health:
        """The health of a whole that has these parts."""
        together = tuple(parts)
        worst = max((part.status for part in together), key=list(HealthStatus).index, default=HealthStatus.OK)
        return cls(worst, together)

    @property
    def problems(self) -> tuple[Part, ...]:
        """The parts that are not `ok`."""
        return tuple(part for part in self.parts if part.status is not HealthStatus.OK)

    def __str__(self) -> str:
        return "\n".join([self.status, *map(str, self.problems)])


NOT_RUNNING = Health.of([Part("runtime", "root", HealthStatus.DOWN, "it is not running")])
"""The health of a runtime that was not started, or was stopped."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the store tells, from one snapshot."""

    schedules: tuple[ScheduleRow, ...]
    sensors: tuple[SensorRow, ...]
    deliveries: dict[str, Waiting]
    backlog: Backlog
    cluster: Cluster
    at: datetime
    """When this was read, by the clock by which nodes beat."""
    connectors: tuple[Vital, ...]


def health_of(services: Services, sensors: SensorBook, down: object | None, *, handles: bool = False) -> Health:
    """How a runtime is that was started; `down` is why its tree is gone, `handles` whether it handles events."""
    if down is not None:
        reason = f"its tree of actors gave up: {down!r}"
        return Health.of([Part("runtime", "root", HealthStatus.DOWN, reason)])
    try:
        reading = services.database.read(lambda connection: _read(connection, services, handles))
    except StoreUnavailable as error:
        return Health.of([Part("store", services.database.url, HealthStatus.DOWN, str(error)), *_apart(services)])
    shared = [_store(services, reading), *_nodes(services, reading)]
    return Health.of([*shared, *_apart(services), *_kept(services, sensors, reading)])


def schedule_part(row: ScheduleRow, now: datetime) -> Part:
    """A schedule, from how far its account is."""
    if row.orphaned:
        return Part("schedule", row.name, HealthStatus.OK, "orphaned: it has left the code")
    early = ahead(row, now)
    if early > AHEAD:
        reason = f"its account is {early:.0f} s ahead of the clock: resume it"
        return Part("schedule", row.name, HealthStatus.DEGRADED, reason)
    try:
        late = overdue(row, now)
    except FlowstoneError as error:
        return Part("schedule", row.name, HealthStatus.DEGRADED, f"it has no next instant: {error}")
    if late > LATE:
        return Part("schedule", row.name, HealthStatus.DEGRADED, f"it is overdue by {late:.0f} s")
    return Part("schedule", row.name, HealthStatus.OK, None if row.enabled else "paused")


def sensor_part(
    row: SensorRow, spec: SensorSpec | None, now: datetime, *, calls: Sequence[Call] = (), owed: Waiting | None = None
) -> Part:
    """A sensor, from its last poll, from its `calls` that were given up, and from the deliveries that it owes.

    Without its definition nobody polls it here, and its polls are not expected.
    """
    if row.orphaned:
        return Part("sensor", row.name, HealthStatus.OK, "orphaned: it has left the code")
    wrong = []
    if row.status is SensorStatus.BROKEN:
        wrong.append(f"broken: {row.reason}")
    if calls:
        wrong.append(_given_up(calls, now))
    if spec is not None:
        wrong += _behind(row, spec, now, owed) if not wrong else []
    if wrong:
        return Part("sensor", row.name, HealthStatus.DEGRADED, "; ".join(wrong))
    failing = f"{row.consecutive_failures} failures in a row" if row.consecutive_failures else None
    return Part("sensor", row.name, HealthStatus.OK, "paused" if row.paused else failing)


def _behind(row: SensorRow, spec: SensorSpec, now: datetime, owed: Waiting | None) -> Iterator[str]:
    """What of a sensor should have moved by now; a call may take its timeout."""
    patience = timedelta(seconds=LATE + spec.timeout)
    if row.status is SensorStatus.ACTIVE and row.next_poll_at is not None and spec.every is not None:
        # Whoever changed the sensor began its interval anew.
        expected = max(row.next_poll_at, row.updated_at + timedelta(seconds=spec.every))
        if now > expected + patience:
            yield f"its poll is overdue by {(now - expected).total_seconds():.0f} s"
    if owed is not None and max(owed.oldest, owed.delivered_at or owed.oldest) + patience < now:
        yield f"{owed.count} deliveries wait, the oldest since {(now - owed.oldest).total_seconds():.0f} s"


def _read(connection: Connection, services: Services, handles: bool) -> _Reading:
    now = services.clock.now()
    return _Reading(
        schedules=schedules_store.every(connection),
        sensors=sensors_store.list_sensors(connection),
        deliveries=waiting(connection, now),
        backlog=backlog(connection, now=now, since=now - timedelta(seconds=LATE), services=services),
        cluster=cluster_of(connection),
        at=connection.now(),
        connectors=vitals(connection, now=now, handles=handles, fires="tasks" in services.directory),
    )


def _store(services: Services, reading: _Reading) -> Part:
    url, fault = services.database.url, services.database.fault
    if fault is not None:
        return Part("store", url, HealthStatus.DOWN, str(fault))
    # Heartbeats come in real time, whatever clock the actors have; to a store that nobody else sees, none come.
    own = reading.cluster.node(services.boot)
    silent = 0.0 if own is None or services.database.private else (reading.at - own.heartbeat_at).total_seconds()
    if silent > SILENT:
        return Part("store", url, HealthStatus.DEGRADED, f"nothing was written since the heartbeat {silent:.0f} s ago")
    return Part("store", url, HealthStatus.OK)


def _nodes(services: Services, reading: _Reading) -> Iterator[Part]:
    """The nodes of a store that several may have, and what each of them does."""
    membership = services.membership
    if not membership.shared:
        return
    if membership.lost is not None or reading.cluster.node(membership.boot) is None:
        reason = f"this node has lost its lease, and joins again: {membership.lost or 'its row has ended'}"
        yield Part("node", membership.name, HealthStatus.DEGRADED, reason)
    for node in reading.cluster.nodes:
        silent = (reading.at - node.heartbeat_at).total_seconds()
        told = _duties(reading.cluster, node)
        if node.boot == membership.boot and membership.joined_again is not None:
            at, why = membership.joined_again
            told += f"; it joined again at {at:%Y-%m-%d %H:%M:%S} UTC: {why}"
        late = silent > 2 * HEARTBEAT
        told += f"; nothing was heard of it for {silent:.0f} s" if late else ""
        yield Part("node", f"{node.name}:{node.pid}", HealthStatus.DEGRADED if late else HealthStatus.OK, told)


def _duties(cluster: Cluster, node: Node) -> str:
    """What a node does for all, in words."""
    duties = cluster.duties_of(node.boot)
    polled = sum(duty.startswith(polls_of("")) for duty in duties)
    has = [*(["the scheduler"] if SCHEDULER in duties else []), f"{polled} sensors"]
    return f"it has {' and '.join(has)}"


def _apart(services: Services) -> Iterator[Part]:
    """What needs no store: the actors and the executors."""
    for name, ref in sorted(services.directory.items()):
        alive = ref.is_alive()
        status = HealthStatus.OK if alive else HealthStatus.DEGRADED
        yield Part("actor", name, status, None if alive else "it has ended, and is not back yet")
    for resource in services.resources.rows():
        yield _resource(resource)
    for executor in (services.executor, services.polls):
        yield _executor(executor, services.clock.now())


def _kept(services: Services, book: SensorBook, reading: _Reading) -> Iterator[Part]:
    """What the store keeps; what nobody is to move here, since its service was left out, is not expected to move."""
    now = services.clock.now()
    for schedule in reading.schedules:
        if "scheduler" in services.directory:
            yield schedule_part(schedule, now)
        else:
            yield Part("schedule", schedule.name, HealthStatus.OK, "no scheduler runs here")
    specs = {spec.name: spec for spec in book.specs()} if "sensors" in services.directory else {}
    given_up = services.polls.abandoned()
    for sensor in reading.sensors:
        calls = [call for call in given_up if is_call_of(sensor.name, call.name)]
        yield sensor_part(sensor, specs.get(sensor.name), now, calls=calls, owed=reading.deliveries.get(sensor.name))
    yield _queue(reading.backlog, services.max_concurrency, now)
    for vital in reading.connectors:
        status = HealthStatus.OK if vital.well else HealthStatus.DEGRADED
        yield Part(vital.kind, vital.name, status, vital.reason)


def _queue(found: Backlog, slots: int, now: datetime) -> Part:
    told = f"{found.queued} due, {found.running} in progress"
    if found.passed_over is None or found.running >= slots:
        return Part("queue", "runs", HealthStatus.OK, told if found.queued else None)
    waited = (now - found.passed_over).total_seconds()
    return Part("queue", "runs", HealthStatus.DEGRADED, f"{told}; one that may begin waits since {waited:.0f} s")


def _resource(row: ResourceRow) -> Part:
    if row.status is ResourceStatus.DOWN:
        return Part("resource", row.name, HealthStatus.DEGRADED, f"down: {row.reason}")
    return Part("resource", row.name, HealthStatus.DEGRADED if row.broken else HealthStatus.OK, row.reason)


def _executor(executor: ThreadExecutor, now: datetime) -> Part:
    calls = executor.abandoned()
    if not calls:
        return Part("executor", executor.name, HealthStatus.OK)
    names = ", ".join(call.name for call in calls[:NAMED]) + (", …" if len(calls) > NAMED else "")
    return Part("executor", executor.name, HealthStatus.DEGRADED, f"{_given_up(calls, now)}: {names}")


def _given_up(calls: Sequence[Call], now: datetime) -> str:
    since = (now - min(call.since for call in calls)).total_seconds()
    if len(calls) == 1:
        return f"a call that was given up still goes on, since {since:.0f} s"
    return f"{len(calls)} calls that were given up still go on, the oldest since {since:.0f} s"
