"""Rows of runs and materializations, as callers see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowstone.core.partitions import Partition, decode_partition
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.io import StoredValue
from flowstone.state.connection import Row
from flowstone.state.fields import instant, json_value

__all__ = ["Conflict", "Materialization", "Record", "Run", "conflict_of", "materialization_of", "run_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialization:
    """One asset of one run. `duration` is in seconds; `stored` says where the value of a success is."""

    run_id: str
    asset: str
    partition: Partition
    status: MaterializationStatus
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None
    error: str | None
    reason: str | None
    stored: StoredValue | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, with the rows of its assets."""

    run_id: str
    run_key: str
    status: RunStatus
    asset: str
    partition: Partition
    attempt: int
    interruptions: int
    error: str | None
    reason: str | None
    retry_of: str | None
    priority: int
    tags: Mapping[str, str]
    requested_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    materializations: tuple[Materialization, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `materialize` gives back: the asset's row of the run, and its value, loaded when first asked for."""

    run_id: str
    run_key: str
    status: MaterializationStatus
    asset: str
    partition: Partition
    attempt: int
    interruptions: int
    error: str | None
    reason: str | None
    retry_of: str | None
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None
    load: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def value(self) -> Any:
        """The value stored by this run.

        Raises:
            ValueNotFound: the run stored none, or it is gone.
        """
        return self.load()

    @property
    def duration_ms(self) -> float | None:
        """The duration in milliseconds."""
        return None if self.duration is None else self.duration * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A request that was refused since its run key means something else already."""

    run_key: str
    existing_fingerprint: str
    requested_fingerprint: str
    source: str
    at: datetime


def materialization_of(row: Row) -> Materialization:
    """The value of a row of table `materialization`."""
    stored = json_value(row.stored)
    return Materialization(
        run_id=row.run_id,
        asset=row.asset,
        partition=decode_partition(row.partition),
        status=MaterializationStatus(row.status),
        attempt=row.attempt,
        started_at=instant(row.started_at),
        completed_at=instant(row.completed_at),
        duration=row.duration,
        error=row.error,
        reason=row.reason,
        stored=None if stored is None else StoredValue(**stored),
    )


def run_of(row: Row, materializations: tuple[Materialization, ...] = ()) -> Run:
    """The value of a row of table `run`."""
    return Run(
        run_id=row.run_id,
        run_key=row.run_key,
        status=RunStatus(row.status),
        asset=row.asset,
        partition=decode_partition(row.partition),
        attempt=row.attempt,
        interruptions=row.interruptions,
        error=row.error,
        reason=row.reason,
        retry_of=row.retry_of,
        priority=row.priority,
        tags=json_value(row.tags) or {},
        requested_at=instant(row.requested_at),
        started_at=instant(row.started_at),
        completed_at=instant(row.completed_at),
        materializations=materializations,
    )


def conflict_of(row: Row) -> Conflict:
    """The value of a row of table `run_conflict`."""
    return Conflict(
        run_key=row.run_key,
        existing_fingerprint=row.existing_fingerprint,
        requested_fingerprint=row.requested_fingerprint,
        source=row.source,
        at=instant(row.at),
    )
