"""The rows of sensors: their statuses, a sensor as the store knows it, and an evaluation of its history."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.core.dedupe import FOREVER, Dedupe
from flowstone.sensors.cursor import envelope
from flowstone.state.connection import Row
from flowstone.state.fields import instant, json_value

__all__ = [
    "SETTLED",
    "Cause",
    "DeliveryStatus",
    "EvaluationRow",
    "EvaluationStatus",
    "Fault",
    "SensorRow",
    "SensorStatus",
    "SkipReason",
    "evaluation_of",
    "sensor_of",
    "slowing",
    "standing",
]


class SensorStatus(enum.StrEnum):
    """What a sensor does at present."""

    ACTIVE = "active"
    PAUSED = "paused"
    BROKEN = "broken"
    ORPHANED = "orphaned"


class Fault(enum.StrEnum):
    """Why a sensor is broken."""

    CRASHES = "crashes"
    ABANDONED = "abandoned"
    FAILURES = "failures"


class EvaluationStatus(enum.StrEnum):
    """What a poll came to."""

    TRIGGERED = "triggered"
    NO_TRIGGER = "no_trigger"
    ERROR = "error"
    SKIPPED = "skipped"
    SKIPPED_STALE = "skipped_stale"


class SkipReason(enum.StrEnum):
    """Why a poll called no user code, or why what it saw was not committed."""

    PAUSED = "paused"
    BACKPRESSURE = "backpressure"
    ABANDONED = "abandoned"
    STALE = "stale"


class Cause(enum.StrEnum):
    """What made an evaluation: the sensor's timer, somebody's wish, or a message pushed to it."""

    POLL = "poll"
    MANUAL = "manual"
    PUSH = "push"


class DeliveryStatus(enum.StrEnum):
    """How far the call of a callback is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


SETTLED = frozenset({EvaluationStatus.TRIGGERED, EvaluationStatus.NO_TRIGGER})


def slowing(faults: frozenset[Fault]) -> frozenset[Fault]:
    """The faults that slow polling down; after crashes it is the supervisor that waits."""
    return faults - {Fault.CRASHES}


def standing(faults: frozenset[Fault], *, paused: bool, reason: str | None) -> tuple[SensorStatus, str | None]:
    """The status and reason of a sensor with these faults; paused, for the reason given, wins over broken.

    >>> standing(frozenset({Fault.FAILURES}), paused=False, reason=None)
    (<SensorStatus.BROKEN: 'broken'>, <Fault.FAILURES: 'failures'>)
    """
    if paused:
        return SensorStatus.PAUSED, reason
    first = next((fault for fault in Fault if fault in faults), None)
    return (SensorStatus.ACTIVE, None) if first is None else (SensorStatus.BROKEN, first)


@dataclass(frozen=True, slots=True)
class SensorRow:
    """A sensor as the store knows it.

    `type` is the import path of its class, `config` its constructor's parameters with secrets masked, `cursor` the
    envelope of its state as stored text is read, `reason` why it is paused or broken, `interval` in seconds.
    """

    name: str
    kind: str
    type: str
    config: Mapping[str, Any]
    definition_version: int
    interval: float | None
    status: SensorStatus
    reason: str | None
    faults: frozenset[Fault]
    cursor_text: str | None
    state_version: int
    consecutive_failures: int
    last_epoch: int | None
    last_evaluation_at: datetime | None
    next_poll_at: datetime | None
    paused: bool
    orphaned: bool
    removed: bool
    created_at: datetime
    updated_at: datetime
    dedupe: Dedupe = FOREVER

    @property
    def cursor(self) -> Any:
        """The envelope `{"v": 1, "type": …, "state": …}`; None before the first state."""
        return envelope(self.cursor_text)

    @property
    def state(self) -> Any:
        """The bare state; None before the first one, and where the cursor is damaged."""
        opened = self.cursor
        return opened.get("state") if isinstance(opened, dict) else None

    @property
    def poll_interval(self) -> float | None:
        """Seconds from poll to poll; None for a sensor that is only polled by hand."""
        return self.interval


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One evaluation of a sensor; cursors are envelopes, `reason_code` is the stable part of an error's reason."""

    id: int
    eval_id: str
    eval_key: str
    sensor: str
    cause: Cause
    status: EvaluationStatus
    reason: str | None
    reason_code: str | None
    expected_state_version: int | None
    state_version_after: int | None
    cursor_before: Any
    cursor_after: Any
    request_count: int
    duplicate_count: int
    run_ids: tuple[str, ...]
    at: datetime


def sensor_of(row: Row) -> SensorRow:
    """The sensor that a row of table `sensor` holds; one that left the code has the status `orphaned`."""
    # By key rather than by attribute, which costs a call in Python: each poll reads two such rows.
    return SensorRow(
        name=row["name"],
        kind=row["kind"],
        type=row["type"],
        config=json_value(row["config"]),
        definition_version=row["definition_version"],
        interval=row["interval"],
        status=SensorStatus.ORPHANED if row["orphaned"] else SensorStatus(row["status"]),
        reason=row["reason"],
        faults=frozenset(Fault(fault) for fault in json_value(row["faults"])),
        cursor_text=row["cursor"],
        state_version=row["state_version"],
        consecutive_failures=row["consecutive_failures"],
        last_epoch=row["last_epoch"],
        last_evaluation_at=instant(row["last_evaluation_at"]),
        next_poll_at=instant(row["next_poll_at"]),
        paused=row["status"] == SensorStatus.PAUSED,
        orphaned=bool(row["orphaned"]),
        removed=bool(row["removed"]),
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        dedupe=Dedupe.read(row["dedupe"]),
    )


def evaluation_of(row: Row) -> EvaluationRow:
    """The evaluation that a row of table `evaluation` holds."""
    return EvaluationRow(
        id=row["id"],
        eval_id=row["eval_id"],
        eval_key=row["eval_key"],
        sensor=row["sensor"],
        cause=Cause(row["trigger"]),
        status=EvaluationStatus(row["status"]),
        reason=row["reason"],
        reason_code=row["reason_code"],
        expected_state_version=row["expected_state_version"],
        state_version_after=row["state_version_after"],
        cursor_before=envelope(row["cursor_before"]),
        cursor_after=envelope(row["cursor_after"]),
        request_count=row["request_count"],
        duplicate_count=row["duplicate_count"],
        run_ids=tuple(json_value(row["run_ids"])),
        at=instant(row["at"]),
    )
