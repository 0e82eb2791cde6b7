"""What a schedule does about ticks that are found late, and about runs that would overlap."""

import enum
from dataclasses import dataclass
from typing import Any, TypeVar

from flowstone.durations import seconds, text
from flowstone.errors import ValidationError, did_you_mean, shown

__all__ = ["Misfire", "MisfireMode", "Overlap", "Reason", "TickStatus", "choice"]

_DAY = 86400.0
_COUNTS = {"skip": 0, "latest": 1, "all": 100}

E = TypeVar("E", bound=enum.StrEnum)


class MisfireMode(enum.StrEnum):
    """Which of the ticks that are found late run: none, the newest, or all."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Overlap(enum.StrEnum):
    """What a tick does while an earlier run of its schedule is unfinished."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    QUEUE_ALL = "queue_all"
    CANCEL_PREVIOUS = "cancel_previous"
    ALLOW = "allow"


class TickStatus(enum.StrEnum):
    """What became of a due instant."""

    TRIGGERED = "triggered"
    SKIPPED = "skipped"
    SUPPRESSED = "suppressed"
    MISSED = "missed"
    FAILED = "failed"


class Reason(enum.StrEnum):
    """Why a due instant did not run."""

    LATE = "late"
    SUPERSEDED = "superseded"
    MAX_COUNT = "max_count"
    MAX_AGE = "max_age"
    EDITED = "edited"
    PAUSED = "paused"
    OVERLAP = "overlap"
    PARTITION = "partition"
    CONFLICT = "conflict"


def choice(kind: type[E], value: Any, what: str) -> E:
    """The member of an enumeration of texts that `value` stands for.

    Raises:
        ValidationError: the value is none of its texts; the message lists them.

    >>> choice(Overlap, "allow", "overlap")
    <Overlap.ALLOW: 'allow'>
    """
    try:
        return kind(value)
    except ValueError:
        known = [member.value for member in kind]
        expected = ", ".join(map(repr, known))
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        message = f"expected {what} to be one of {expected}, got: {shown(value)}{hint}"
        raise ValidationError(message, option=what) from None


@dataclass(frozen=True, slots=True, init=False)
class Misfire:
    """Which late ticks run: `mode`, the newest `max_count` of them, none older than `max_age`.

    `max_count` is 1 for `latest` and 100 for `all` unless given; `max_age` is in seconds, None is no limit.

    Raises:
        ValidationError: a mode that is none of `skip latest all`, a count below 1, a bad duration.

    >>> Misfire("all", max_age="6h")
    Misfire(mode=<MisfireMode.ALL: 'all'>, max_count=100, max_age=21600.0)
    """

    mode: MisfireMode
    max_count: int
    max_age: float | None

    def __init__(self, mode: str = "latest", *, max_count: int | None = None, max_age: Any = _DAY) -> None:
        kind = choice(MisfireMode, mode, "misfire")
        if max_count is not None and (type(max_count) is not int or max_count < 1):
            message = f"expected max_count of misfire to be an int of at least 1, got: {shown(max_count)}"
            raise ValidationError(message, option="max_count")
        age = None if max_age is None else seconds(max_age, "max_age of misfire")
        object.__setattr__(self, "mode", kind)
        object.__setattr__(self, "max_count", _COUNTS[kind] if max_count is None or kind == "skip" else max_count)
        object.__setattr__(self, "max_age", age)

    @classmethod
    def read(cls, value: object) -> "Misfire":
        """A misfire policy from a policy or the text of its mode.

        Raises:
            ValidationError: it is neither.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value)
        raise ValidationError(
            f"expected misfire to be 'skip', 'latest', 'all' or a Misfire, got: {shown(value)}", option="misfire"
        )

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Misfire":
        """The policy that `as_json` gave."""
        return cls(stored["mode"], max_count=stored["max_count"] or None, max_age=stored["max_age"])

    def as_json(self) -> dict[str, Any]:
        """The policy as JSON has it."""
        return {"mode": self.mode.value, "max_count": self.max_count, "max_age": self.max_age}

    def __str__(self) -> str:
        limits = [] if self.max_count == _COUNTS[self.mode] else [f"max_count={self.max_count}"]
        limits += [] if self.max_age == _DAY else [f"max_age={'none' if self.max_age is None else text(self.max_age)}"]
        return f"{self.mode}({', '.join(limits)})" if limits else self.mode.value
