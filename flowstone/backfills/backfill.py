"""A backfill as a value: its states, what became of its partitions, and what follows from that for the whole. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flowstone.core.partitions import Partition

__all__ = [
    "BACKFILL_STEPS",
    "FINISHED_BACKFILLS",
    "Backfill",
    "BackfillPartition",
    "BackfillStatus",
    "PartitionStatus",
    "concluded",
]


class BackfillStatus(enum.StrEnum):
    """The states of a backfill."""

    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PartitionStatus(enum.StrEnum):
    """The states of one partition within a backfill."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


_B = BackfillStatus
BACKFILL_STEPS: Mapping[BackfillStatus, frozenset[BackfillStatus]] = {
    _B.RUNNING: frozenset({_B.PAUSED, _B.SUCCESS, _B.FAILED, _B.CANCELLED}),
    _B.PAUSED: frozenset({_B.RUNNING, _B.SUCCESS, _B.FAILED, _B.CANCELLED}),
    _B.SUCCESS: frozenset(),
    _B.FAILED: frozenset({_B.RUNNING}),
    _B.CANCELLED: frozenset(),
}
"""Which state may follow which: partitions of a failed backfill may be tried again."""

FINISHED_BACKFILLS = frozenset({_B.SUCCESS, _B.FAILED, _B.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """A backfill, and how many of its `total` partitions are in each state.

    `skipped` are those that were made before, `cancelled` those whose run was cancelled or never asked for; `running`
    are those whose run is not finished. `asset` may be a selection.
    """

    id: str
    asset: str
    status: BackfillStatus
    total: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    running: int
    pending: int
    max_parallel: int
    force: bool
    started_by: str
    created_at: datetime
    completed_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status in FINISHED_BACKFILLS

    @property
    def done(self) -> int:
        """How many partitions are settled, whatever they came to."""
        return self.total - self.pending - self.running

    def __str__(self) -> str:
        counts = {
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped,
            "cancelled": self.cancelled,
            "running": self.running,
        }
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "succeeded")
        return f"backfill {self.id} of {self.asset}: {self.status}, {self.done} of {self.total} done ({told})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPartition:
    """One partition of a backfill; `run_id` is its newest run, None before there is one."""

    partition: Partition
    status: PartitionStatus
    run_id: str | None
    error: str | None
    completed_at: datetime | None


def concluded(counts: Mapping[str, int]) -> BackfillStatus | None:
    """What a backfill came to, from how many partitions are in each state; None while there is something to do.

    >>> concluded({"success": 3, "failed": 1}).value, concluded({"success": 3, "pending": 1})
    ('failed', None)
    """
    if counts.get(PartitionStatus.PENDING) or counts.get(PartitionStatus.RUNNING):
        return None
    lost = counts.get(PartitionStatus.FAILED, 0) + counts.get(PartitionStatus.CANCELLED, 0)
    return BackfillStatus.FAILED if lost else BackfillStatus.SUCCESS
