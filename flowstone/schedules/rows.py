"""The rows of schedules and ticks, as calls return them."""

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.core.dedupe import Dedupe
from flowstone.core.partitions import Partition, decode_partition
from flowstone.cron import Timing
from flowstone.schedules.policies import Misfire, Overlap, TickStatus
from flowstone.schedules.schedule import OPTIONS, Schedule, default_overlap, timing_of
from flowstone.state.connection import Row
from flowstone.state.fields import instant, json_text, json_value

__all__ = ["COLUMNS", "NO_CODE", "ScheduleRow", "ScheduleStatus", "Tick", "read_policies"]

COLUMNS = (
    "name, target, cron, every, timezone, gap, fold, partition_rule, misfire, overlap, dedupe, jitter, enabled, "
    "metadata, version, definition, orphaned, created_at, updated_at, accounted_until, last_scheduled_for"
)
"""What `ScheduleRow.read` reads, in its order."""

NO_CODE = "null"
"""What stands for the definition of a schedule that no code defines."""


class ScheduleStatus(enum.StrEnum):
    """Whether a schedule fires, was paused, or has left the code."""

    ACTIVE = "active"
    PAUSED = "paused"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One schedule as the store has it.

    Attributes:
        every, jitter: seconds.
        partition_rule: the name of the rule, None for the default one.
        version: 1 at first, one more at each real change.
        definition_text: what the code said when it was read last, as JSON; `null` for a schedule made at run time.
        accounted_until: every instant up to this one has its row.
        last_scheduled_for: the newest instant that the timer triggered.
    """

    name: str
    target: str
    cron: str | None
    every: float | None
    timezone: str
    gap: str
    fold: str
    partition_rule: str | None
    misfire: Misfire
    overlap: Overlap
    dedupe: Dedupe
    jitter: float
    enabled: bool
    metadata: Mapping[str, Any]
    version: int
    definition_text: str
    orphaned: bool
    created_at: datetime
    updated_at: datetime
    accounted_until: datetime
    last_scheduled_for: datetime | None

    @classmethod
    def new(cls, schedule: Schedule, now: datetime, *, code: bool = False) -> "ScheduleRow":
        """The first row of a schedule, whose first instant is strictly after `now`."""
        definition = schedule.definition()
        return cls(
            **{**definition, "misfire": schedule.misfire, "overlap": schedule.overlap, "dedupe": schedule.dedupe},
            name=schedule.name,
            version=1,
            definition_text=json_text(definition if code else None),
            orphaned=False,
            created_at=now,
            updated_at=now,
            accounted_until=now,
            last_scheduled_for=None,
        )

    @classmethod
    def read(cls, row: Row) -> "ScheduleRow":
        """The value of a row of `COLUMNS`."""
        # By place: by name, reading 100,000 rows would take half as long again.
        values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
        for name, reader in _READERS:
            values[name] = reader(values[name])
        return cls(**values)

    @property
    def status(self) -> ScheduleStatus:
        """`orphaned`, else `paused` when disabled, else `active`."""
        if self.orphaned:
            return ScheduleStatus.ORPHANED
        return ScheduleStatus.ACTIVE if self.enabled else ScheduleStatus.PAUSED

    @property
    def origin(self) -> str:
        """`code` when a pipeline defines the schedule, `runtime` when it was created by a call."""
        return "runtime" if self.definition_text == NO_CODE else "code"

    @property
    def timing(self) -> Timing:
        """The instants at which the schedule is due."""
        return timing_of(self.name, self.cron, self.every, self.timezone, self.gap, self.fold)

    def edited(self, changes: Mapping[str, Any]) -> Schedule:
        """The schedule with other options, checked as at construction; its rule is that of `changes` alone.

        A new `cron` takes the place of `every`, and the other way round. An overlap policy that was the misfire
        policy's default follows a new misfire policy.

        Raises:
            CronError, ValidationError: as `Schedule` does.
        """
        options = {key: getattr(self, key) for key in OPTIONS if key != "partition"}
        if changes.get("cron") is not None:
            options["every"] = None
        if changes.get("every") is not None:
            options["cron"] = None
        if "misfire" in changes and self.overlap is default_overlap(self.misfire):
            del options["overlap"]
        return Schedule(self.name, **{**options, **changes})

    def definition(self) -> dict[str, Any]:
        """What `Schedule.definition` gives for the schedule that is stored here."""
        return {
            "target": self.target,
            "cron": self.cron,
            "every": self.every,
            "timezone": self.timezone,
            "gap": self.gap,
            "fold": self.fold,
            "partition_rule": self.partition_rule,
            "misfire": self.misfire.as_json(),
            "overlap": self.overlap.value,
            "dedupe": str(self.dedupe),
            "jitter": self.jitter,
            "enabled": self.enabled,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One row of a schedule's history: an instant, or a counted range of instants that did not run.

    Attributes:
        scheduled_for, until: the instant; of a range, its first and its last (else None).
        count: how many instants the row stands for.
        partition: the partition of the run; None when the tick has none, and for the partition None.
        blocked_by: the run id that stood in its way.
        at: when the row was written.
    """

    tick_id: str
    schedule: str
    scheduled_for: datetime
    until: datetime | None
    count: int
    manual: bool
    status: TickStatus
    reason: str | None
    run_id: str | None
    partition: Partition
    error: str | None
    blocked_by: str | None
    at: datetime

    @classmethod
    def read(cls, row: Row) -> "Tick":
        """The value of a row of the table."""
        return cls(
            tick_id=row.tick_id,
            schedule=row.schedule,
            scheduled_for=instant(row.scheduled_for),
            until=instant(row.until),
            count=row["count"],
            manual=bool(row.manual),
            status=TickStatus(row.status),
            reason=row.reason,
            run_id=row.run_id,
            partition=None if row.partition is None else decode_partition(row.partition),
            error=row.error,
            blocked_by=row.blocked_by,
            at=instant(row.at),
        )


def read_policies(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The policies of a definition, as values."""
    return {
        "misfire": Misfire.from_json(definition["misfire"]),
        "overlap": Overlap(definition["overlap"]),
        "dedupe": Dedupe.read(definition["dedupe"]),
    }


@functools.lru_cache(maxsize=1024)
def _misfire(text: str) -> Misfire:
    return Misfire.from_json(json_value(text))


_FIELDS = tuple(COLUMNS.replace("definition", "definition_text").split(", "))
_READERS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("misfire", _misfire),
    ("overlap", Overlap),
    ("dedupe", Dedupe.read),
    ("enabled", bool),
    ("metadata", json_value),
    ("orphaned", bool),
    ("created_at", instant),
    ("updated_at", instant),
    ("accounted_until", instant),
    ("last_scheduled_for", instant),
)
