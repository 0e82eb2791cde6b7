"""A snapshot of the numbers that tell how a runtime keeps up, from one reading of the store: lags first.

Nothing is counted while the runtime works, so the snapshot costs nothing when nobody asks, and it is as right after a
restart as before. Its text is what Prometheus scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flowstone.errors import FlowstoneError
from flowstone.runs.services import Services
from flowstone.schedules import store as schedules_store
from flowstone.schedules.due import overdue
from flowstone.schedules.rows import ScheduleRow
from flowstone.sensors import store as sensors_store
from flowstone.sensors.outbox import waiting
from flowstone.sensors.rows import SensorRow, SensorStatus
from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["HELP", "Metric", "Metrics", "metrics_of"]

HELP: Mapping[str, str] = {
    "flowstone_tick_lateness_seconds": "How far a schedule is behind its next due instant.",
    "flowstone_poll_lateness_seconds": "How far a sensor is behind its next poll.",
    "flowstone_queue_age_seconds": "How long the longest has waited of the runs that are due.",
    "flowstone_runs": "Runs that are not finished, by status.",
    "flowstone_sensor_failures": "Failures of a sensor in a row.",
    "flowstone_deliveries_due": "Calls of a sensor's on_trigger that are due.",
    "flowstone_calls_abandoned": "Calls that were given up and still go on, by executor.",
}
"""All metrics, and what each tells."""

_RUNS = """
    select status, count(*) as count from run
    where status in ('queued', 'running', 'waiting_approval') group by status
"""
_OLDEST = "select min(ready_at) as ready_at from run where status = 'queued' and ready_at <= :now"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number: its name, its labels, its value."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.labels.items())
        return f"{self.name}{{{labels}}} {self.value:g}" if labels else f"{self.name} {self.value:g}"


class Metrics(tuple[Metric, ...]):
    """Numbers of one moment; `str()` is the text that Prometheus scrapes."""

    __slots__ = ()

    def value(self, name: str, **labels: str) -> float:
        """One number; 0 when there is none of this name and these labels."""
        return next((each.value for each in self if each.name == name and each.labels == labels), 0.0)

    def __str__(self) -> str:
        lines = []
        for name, told in HELP.items():
            found = [str(each) for each in self if each.name == name]
            if found:
                lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge", *found]
        return "".join(f"{line}\n" for line in lines)


def metrics_of(services: Services) -> Metrics:
    """The numbers as they are now.

    Raises:
        StoreUnavailable: the store can't be read.
    """
    now = services.clock.now()
    found = services.database.read(lambda connection: list(_read(connection, now)))
    for executor in (services.executor, services.polls):
        found.append(Metric("flowstone_calls_abandoned", len(executor.abandoned()), {"executor": executor.name}))
    return Metrics(found)


def _read(connection: Connection, now: datetime) -> Iterator[Metric]:
    for schedule in schedules_store.every(connection):
        if schedule.enabled and not schedule.orphaned:
            yield Metric("flowstone_tick_lateness_seconds", _lateness(schedule, now), {"schedule": schedule.name})
    for sensor in sensors_store.list_sensors(connection):
        if not sensor.orphaned:
            yield Metric("flowstone_poll_lateness_seconds", _behind(sensor, now), {"sensor": sensor.name})
            yield Metric("flowstone_sensor_failures", sensor.consecutive_failures, {"sensor": sensor.name})
    for name, owed in waiting(connection, now).items():
        yield Metric("flowstone_deliveries_due", owed.count, {"sensor": name})
    oldest: datetime | None = instant(connection.execute(_OLDEST, now=now)[0].ready_at)
    yield Metric("flowstone_queue_age_seconds", 0.0 if oldest is None else (now - oldest).total_seconds())
    counts = {row.status: row.count for row in connection.execute(_RUNS)}
    for status in ("queued", "running", "waiting_approval"):
        yield Metric("flowstone_runs", counts.get(status, 0), {"status": status})


def _lateness(schedule: ScheduleRow, now: datetime) -> float:
    try:
        return overdue(schedule, now)
    except FlowstoneError:  # nothing matches any more: nothing is due
        return 0.0


def _behind(sensor: SensorRow, now: datetime) -> float:
    if sensor.status is not SensorStatus.ACTIVE or sensor.next_poll_at is None:
        return 0.0
    return max(0.0, (now - sensor.next_poll_at).total_seconds())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
