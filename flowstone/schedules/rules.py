"""Partition rules: which partition the run of a tick is for, from its scheduled instant in the schedule's zone.

The ready ones are pure and ours. A user's is any function of the instant; it is stored under its name, and only
functions of modules that the program has imported itself are found again: text in the store never imports code.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from flowstone.core.partitions import Partition
from flowstone.errors import ValidationError, did_you_mean, shown

__all__ = [
    "READY",
    "Rule",
    "Rules",
    "is_ready",
    "previous_day",
    "previous_hour",
    "previous_month",
    "previous_week",
    "read_rule",
    "rule_text",
    "this_day",
    "this_hour",
    "this_month",
    "this_week",
]

Rule = Callable[[datetime], Partition]
"""A partition rule: from the scheduled instant in the schedule's zone to the partition."""


class _Ruled(Protocol):
    """What has a rule and a name, as a schedule does."""

    @property
    def name(self) -> str: ...

    @property
    def partition(self) -> Rule | None: ...


_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


def this_hour(instant: datetime) -> datetime:
    """The start of the hour that `instant` is in, by its zone's clock; in UTC.

    >>> this_hour(datetime(2025, 1, 15, 2, 30, tzinfo=UTC)).isoformat()
    '2025-01-15T02:00:00+00:00'
    """
    return instant.replace(minute=0, second=0, microsecond=0).astimezone(UTC)


def previous_hour(instant: datetime) -> datetime:
    """The start of the hour before the one that `instant` is in; in UTC."""
    return this_hour((instant.astimezone(UTC) - _HOUR).astimezone(instant.tzinfo))


def this_day(instant: datetime) -> date:
    """The date of `instant` in its zone."""
    return instant.date()


def previous_day(instant: datetime) -> date:
    """The date before that of `instant`.

    >>> previous_day(datetime(2025, 1, 15, 2, tzinfo=UTC))
    datetime.date(2025, 1, 14)
    """
    return instant.date() - _DAY


def this_week(instant: datetime) -> date:
    """The Monday of the week that `instant` is in."""
    return instant.date() - instant.weekday() * _DAY


def previous_week(instant: datetime) -> date:
    """The Monday of the week before the one that `instant` is in."""
    return this_week(instant) - 7 * _DAY


def this_month(instant: datetime) -> date:
    """The first day of the month that `instant` is in."""
    return instant.date().replace(day=1)


def previous_month(instant: datetime) -> date:
    """The first day of the month before the one that `instant` is in.

    >>> previous_month(datetime(2025, 1, 15, tzinfo=UTC))
    datetime.date(2024, 12, 1)
    """
    return (this_month(instant) - _DAY).replace(day=1)


READY: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        this_hour,
        previous_hour,
        this_day,
        previous_day,
        this_week,
        previous_week,
        this_month,
        previous_month,
    )
}


def is_ready(rule: Rule) -> bool:
    """Whether a rule is one of ours, which may run inline."""
    return rule in READY.values()


def read_rule(value: object) -> Rule | None:
    """A rule from a function, the name of a ready one, or None for the default.

    Raises:
        ValidationError: it is none of these.

    >>> read_rule("this_day") is this_day
    True
    """
    if value is None or callable(value):
        return value
    if isinstance(value, str) and value in READY:
        return READY[value]
    hint = did_you_mean(value, READY) if isinstance(value, str) else ""
    expected = f"a function of the scheduled instant or one of {', '.join(READY)}"
    raise ValidationError(f"expected partition to be {expected}, got: {shown(value)}{hint}", option="partition")


def rule_text(rule: Rule | None) -> str | None:
    """The name under which a rule is stored: a ready one's own, else `module:qualified name`.

    >>> rule_text(previous_day), rule_text(None)
    ('previous_day', None)
    """
    if rule is None:
        return None
    if is_ready(rule):
        return rule.__name__
    name = getattr(rule, "__qualname__", None) or f"<{type(rule).__qualname__}>"
    return f"{getattr(rule, '__module__', None) or type(rule).__module__}:{name}"


class Rules:
    """The users' partition rules that this process knows, by schedule. Shared between threads."""

    __slots__ = ("_known",)

    def __init__(self, schedules: Iterable[_Ruled] = ()) -> None:
        self._known: dict[tuple[str, str], Rule] = {}
        for schedule in schedules:
            self.learn(schedule.name, schedule.partition)

    def learn(self, schedule: str, rule: Rule | None) -> None:
        """Remember the rule of a schedule, so that its stored name is enough to find it."""
        text = rule_text(rule)
        if rule is not None and text is not None:
            self._known[schedule, text] = rule

    def find(self, schedule: str, text: str | None) -> Rule | None:
        """The rule stored as `text`; None is the default rule.

        Raises:
            ValidationError: no function that this process has imported has that name.
        """
        if text is None:
            return None
        rule = READY.get(text) or self._known.get((schedule, text)) or _imported(text)
        if rule is None:
            raise ValidationError(
                f"expected the partition rule {text} of schedule {schedule!r} to be a function of a module imported "
                "here; give it again with schedules.update(name, partition=…), or define the schedule in code",
                schedule=schedule,
                rule=text,
            )
        return rule


def _imported(text: str) -> Rule | None:
    module, _, path = text.partition(":")
    found: object = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if callable(found) else None
