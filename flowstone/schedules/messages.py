"""What the scheduler is told, by the functions of `scheduler` and by itself."""

from dataclasses import dataclass, field
from typing import Any

from flowstone.outcome import Outcome
from flowstone.schedules.due import Decision
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.ticks import Commit, Moved, Writing

__all__ = ["Answered", "Burst", "Changed", "Foresee", "Look", "Read", "Write", "Written"]


@dataclass(frozen=True, slots=True)
class Look:
    """The timer: something may be ready."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Read these schedules, which were created, changed or deleted; None is all of them."""

    names: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Read:
    """The mark and the rows of these schedules, or of all; no rows when the mark says that nothing has changed."""

    names: frozenset[str] | None
    outcome: Outcome[tuple[tuple[Any, ...], tuple[ScheduleRow, ...] | None]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A user's partition rule was called for the last account of a decision."""

    schedule: ScheduleRow
    decision: Decision
    outcome: Outcome[Any]


@dataclass(slots=True)
class Burst:
    """Commits that became due together: how many of their transactions are left, and what became of the others."""

    left: int = 0
    written: list["Written"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Foresee:
    """Decide ahead about these schedules: their ticks are written, and there is time."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Try these commits, again when that is not the first attempt."""

    commits: tuple[Commit, ...]
    attempt: int
    burst: Burst


@dataclass(frozen=True, slots=True)
class Written:
    """What became of these commits: where the schedules are now, None for those that had moved on."""

    asked: Write
    outcome: Outcome[tuple[Writing, list[Moved | None]]]
