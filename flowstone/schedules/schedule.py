"""A schedule as a value: when it fires, what it starts, and its policies, all checked at construction."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flowstone.core.asset import Asset
from flowstone.core.dedupe import FOREVER, Dedupe
from flowstone.core.keywords import check_keywords
from flowstone.core.location import caller
from flowstone.core.names import check_name
from flowstone.cron import Cron, Interval, Timing
from flowstone.durations import seconds
from flowstone.errors import ValidationError, shown
from flowstone.schedules.policies import Misfire, MisfireMode, Overlap, choice
from flowstone.schedules.rules import Rule, read_rule, rule_text
from flowstone.state.fields import json_text, json_value

__all__ = ["OPTIONS", "TIMING", "Schedule", "default_overlap", "timing_of"]

OPTIONS = (
    "target",
    "cron",
    "every",
    "timezone",
    "gap",
    "fold",
    "partition",
    "misfire",
    "overlap",
    "dedupe",
    "jitter",
    "enabled",
    "metadata",
)
"""What `Schedule(name, …)` takes after the name."""

TIMING = ("cron", "every", "timezone", "gap", "fold")
"""The options that decide which instants are due."""

_RECENT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, init=False)
class Schedule:
    """A schedule: `cron=` or `every=`, exactly one, and the options of semantics 4; `target` defaults to the name.

    Raises:
        ValidationError: an unknown keyword, a bad name or option, or not exactly one of cron and every.
        CronError: a bad expression, interval or zone.

    >>> Schedule("daily_report", cron="0 2 * * *", timezone="America/New_York").target
    'daily_report'
    """

    name: str
    target: str
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    gap: str = "shift"
    fold: str = "first"
    partition: Rule | None = None
    misfire: Misfire = field(default_factory=Misfire)
    overlap: Overlap = Overlap.SKIP
    dedupe: Dedupe = FOREVER
    jitter: float = 0.0
    enabled: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    location: str = field(default="", compare=False)

    def __init__(self, name: str, **options: Any) -> None:
        check_keywords("schedule", options, OPTIONS)
        check_name("schedule", name)
        misfire = Misfire.read(_given(options, "misfire", "latest"))
        values: dict[str, Any] = {
            "name": name,
            "target": _target(name, options.get("target")),
            **_timing(name, options),
            "partition": read_rule(options.get("partition")),
            "misfire": misfire,
            "overlap": choice(Overlap, _given(options, "overlap", default_overlap(misfire)), "overlap"),
            "dedupe": Dedupe.read(_given(options, "dedupe", FOREVER)),
            "jitter": seconds(_given(options, "jitter", 0.0), "jitter"),
            "enabled": _enabled(_given(options, "enabled", True)),
            "metadata": _metadata(options.get("metadata")),
            "location": caller(),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def timing(self) -> Timing:
        """The instants at which the schedule is due."""
        return timing_of(self.name, self.cron, self.every, self.timezone, self.gap, self.fold)

    def definition(self) -> dict[str, Any]:
        """All that defines the schedule but its name, as JSON has it; the keys are columns of the store."""
        return {
            "target": self.target,
            "cron": self.cron,
            "every": self.every,
            "timezone": self.timezone,
            "gap": self.gap,
            "fold": self.fold,
            "partition_rule": rule_text(self.partition),
            "misfire": self.misfire.as_json(),
            "overlap": self.overlap.value,
            "dedupe": str(self.dedupe),
            "jitter": self.jitter,
            "enabled": self.enabled,
            "metadata": dict(self.metadata),
        }


def default_overlap(misfire: Misfire) -> Overlap:
    """The overlap policy of a schedule that names none: ticks that are all to run wait for each other."""
    return Overlap.QUEUE_ALL if misfire.mode is MisfireMode.ALL else Overlap.SKIP


# Room for 100,000 schedules, each of which asks at each of its ticks.
@functools.lru_cache(maxsize=1 << 17)
def timing_of(name: str, cron: str | None, every: float | None, timezone: str, gap: str, fold: str) -> Timing:
    """The instants that the options of a schedule stand for; the name decides what `H` means.

    Raises:
        CronError: a bad expression, interval or zone.
    """
    if cron is not None:
        return Cron(cron, timezone, gap=gap, fold=fold, name=name)
    return Interval(0 if every is None else every)


def _given(options: Mapping[str, Any], option: str, default: Any) -> Any:
    value = options.get(option)
    return default if value is None else value


def _target(name: str, target: object) -> str:
    if isinstance(target, Asset):
        return target.name
    if target is None:
        return name
    if not isinstance(target, str) or not target.strip():
        message = f"expected target of schedule {name!r} to be an asset or a selection, got: {shown(target)}"
        raise ValidationError(message, option="target")
    return target


def _timing(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    cron, every = options.get("cron"), options.get("every")
    if (cron is None) == (every is None):
        got = "neither" if cron is None else f"cron={shown(cron)} and every={shown(every)}"
        raise ValidationError(f"expected schedule {name!r} to have exactly one of cron= and every=, got: {got}")
    timing = {
        "cron": cron,
        "every": None if every is None else _interval(every),
        "timezone": _given(options, "timezone", "UTC"),
        "gap": _given(options, "gap", "shift"),
        "fold": _given(options, "fold", "first"),
    }
    # An interval has no use for zone, gap and fold, but its partition rule has one for the zone: all are checked alike.
    rest = (timing["timezone"], timing["gap"], timing["fold"])
    timing_of(name, "@daily" if cron is None else cron, None, *rest)
    return timing


def _interval(every: Any) -> int:
    interval = Interval(every)
    interval.next_after(_RECENT)  # refuses what is longer than the calendar
    return interval.seconds


def _enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationError(f"expected enabled to be True or False, got: {shown(value)}", option="enabled")
    return value


def _metadata(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        message = f"expected metadata to be a mapping of text to what JSON can hold, got: {shown(value)}"
        raise ValidationError(message, option="metadata")
    metadata: Mapping[str, Any] = json_value(json_text(dict(value)))
    return metadata
