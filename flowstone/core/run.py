"""Runs as values: what may be requested, the statuses, and which status may follow which.

The tables say what may follow what; whatever writes a status asks them first, so that an illegal step is an error and
never a row.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flowstone.core.checks import check_int, check_text_mapping
from flowstone.core.partitions import Partition
from flowstone.core.run_key import check_user_key
from flowstone.errors import StaleState, ValidationError

__all__ = [
    "FINISHED_MATERIALIZATIONS",
    "FINISHED_RUNS",
    "MATERIALIZATION_STEPS",
    "RUN_STEPS",
    "Identity",
    "MaterializationStatus",
    "RunRequest",
    "RunStatus",
    "Source",
    "SourceKind",
    "step",
]


class RunStatus(enum.StrEnum):
    """The states of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class MaterializationStatus(enum.StrEnum):
    """The states of one asset within a run."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING_APPROVAL = "waiting_approval"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


_R = RunStatus
RUN_STEPS: Mapping[RunStatus, frozenset[RunStatus]] = {
    _R.QUEUED: frozenset({_R.RUNNING, _R.FAILED, _R.CANCELLED}),
    _R.RUNNING: frozenset({_R.QUEUED, _R.WAITING_APPROVAL, _R.SUCCESS, _R.FAILED, _R.CANCELLED}),
    _R.WAITING_APPROVAL: frozenset({_R.QUEUED, _R.FAILED, _R.CANCELLED}),
    _R.SUCCESS: frozenset(),
    _R.FAILED: frozenset(),
    _R.CANCELLED: frozenset(),
}

_M = MaterializationStatus
MATERIALIZATION_STEPS: Mapping[MaterializationStatus, frozenset[MaterializationStatus]] = {
    _M.PENDING: frozenset({_M.RUNNING, _M.FAILED, _M.SKIPPED, _M.CANCELLED}),
    _M.RUNNING: frozenset(
        {_M.PENDING, _M.WAITING_APPROVAL, _M.SUCCESS, _M.FAILED, _M.SKIPPED, _M.CANCELLED},
    ),
    _M.WAITING_APPROVAL: frozenset({_M.PENDING, _M.FAILED, _M.CANCELLED}),
    _M.SUCCESS: frozenset(),
    _M.FAILED: frozenset(),
    _M.SKIPPED: frozenset(),
    _M.CANCELLED: frozenset(),
}

FINISHED_RUNS = frozenset(status for status, after in RUN_STEPS.items() if not after)
FINISHED_MATERIALIZATIONS = frozenset(status for status, after in MATERIALIZATION_STEPS.items() if not after)

S = TypeVar("S", bound=enum.StrEnum)


def step(table: Mapping[S, frozenset[S]], before: S, after: S) -> S:
    """Return `after` when the table lets it follow `before`.

    Raises:
        StaleState: when it does not, as when a finished row would change.

    >>> step(RUN_STEPS, RunStatus.QUEUED, RunStatus.RUNNING).value
    'running'
    """
    if after not in table[before]:
        allowed = ", ".join(sorted(table[before])) or "nothing, it is finished"
        message = f"expected a step from {before} to one of: {allowed}; got: {after}"
        raise StaleState(message, before=before, after=after)
    return after


class SourceKind(enum.StrEnum):
    """What kind of thing asked for a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    SENSOR = "sensor"
    CONNECTOR = "connector"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Source:
    """Who asked for a run: a kind, the name of the schedule or sensor, and the evaluation or tick."""

    kind: SourceKind
    name: str | None = None
    evaluation_id: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind.value


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes run ids of one deployment its own: a namespace and a secret (semantics 6)."""

    namespace: str = "default"
    secret: str = ""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A wish for a run: an asset or a selection, a partition, and optionally a key, tags and a priority.

    A higher `priority` is started first. Two requests with one `run_key` and one meaning are one run.

    Raises:
        ValidationError: for an asset that is no text, a priority that is no int, tags that are no mapping of text to
            text, a run key that is no text, is longer than 512 characters or ends in `#` and digits.
    """

    asset: str
    partition: Partition = None
    run_key: str | None = None
    tags: Mapping[str, str] | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        _check_selection(self.asset)
        check_int("priority", self.priority)
        if self.run_key is not None:
            check_user_key(self.run_key)
        if self.tags is not None:
            check_text_mapping("tags", self.tags)


def _check_selection(given: Any) -> None:
    if not isinstance(given, str) or not given.strip():
        raise ValidationError(f"expected asset to be a name or a selection such as '+report', got: {given!r}")
