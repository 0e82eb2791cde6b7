"""The reading of cron expressions, with croniter as the parser of each field.

croniter sees text that `text.split` passed, one field at a time, and never a time zone: its gaps and folds, and its
ways to combine the day fields, are not those of Debian's cron(8) and crontab(5). What it reads is cached by field,
for all expressions that share one.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from croniter import croniter

from flowstone.cron.fields import DayOfMonth, DayOfWeek, Fields, days
from flowstone.cron.text import FIELDS, refuse, split

__all__ = ["parse"]

MINUTE, HOUR, DAY, MONTH, WEEKDAY = range(5)


@dataclass(frozen=True, slots=True)
class _Read:
    """What croniter makes of a field: a mask of its numbers, and the three extras of the day fields."""

    mask: int
    last: bool
    nearest: int | None
    nth: tuple[tuple[int, int], ...]


def parse(expression: str, name: str | None = None) -> Fields:
    """Return what an expression matches; `name` is what `H` is a hash of: the same name, the same hash, for ever.

    >>> parse("30 2 * * *").wildcard, parse("*/15 2 * * *").wildcard
    (False, True)

    Raises:
        CronError: the expression is refused; it names the expression, the field and the reason.
    """
    if not isinstance(expression, str):
        raise refuse(expression, "expression", f"expected a str, got {type(expression).__name__}")
    if name is not None and not isinstance(name, str):
        raise refuse(expression, "name", f"expected the schedule's name as a str, got {type(name).__name__}")
    return _parse(expression, name if "h" in expression.lower() else None)


@lru_cache(maxsize=16_384)
def _parse(expression: str, name: str | None) -> Fields:
    texts = split(expression)
    try:
        read = [_read(index, text, _seed(expression, index, text, name)) for index, text in enumerate(texts)]
    except ValueError as error:
        raise refuse(expression, "expression", f"croniter can't read it: {error}") from error
    found = days(
        DayOfMonth(read[DAY].mask, read[DAY].last, read[DAY].nearest, not texts[DAY].startswith("*")),
        DayOfWeek(read[WEEKDAY].mask, read[WEEKDAY].nth, not texts[WEEKDAY].startswith("*")),
        read[MONTH].mask,
    )
    if not found.possible:
        reason = f"never fires: no year has such a day with month {texts[MONTH]!r}, day-of-week {texts[WEEKDAY]!r}"
        raise refuse(expression, FIELDS[DAY].name, reason)
    return Fields(
        times=_times(read[MINUTE].mask, read[HOUR].mask),
        days=None if found.every else found,
        wildcard=texts[MINUTE].startswith("*") or texts[HOUR].startswith("*"),
    )


@lru_cache(maxsize=4096)
def _times(minutes: int, hours: int) -> int:
    return sum(minutes << 60 * hour for hour in range(24) if hours >> hour & 1)


def _seed(expression: str, index: int, text: str, name: str | None) -> bytes | None:
    if not text.startswith("h"):
        return None
    if not name:
        raise refuse(expression, FIELDS[index].name, "H is a hash of the schedule's name, and there is none")
    # croniter hashes by CRC-32 shifted by the field's number: of one seed, minute and hour take 240 of 1440 values.
    return sha256(f"{FIELDS[index].name}:{name}".encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=16_384)
def _read(index: int, text: str, seed: bytes | None) -> _Read:
    fields = ["*"] * len(FIELDS)
    fields[index] = text
    parsed = croniter(" ".join(fields), 0.0, hash_id=seed)
    values = parsed.expanded[index]
    nth = tuple(
        (weekday, 0 if number == "l" else number)
        for weekday, numbers in sorted(parsed.nth_weekday_of_month.items())
        for number in sorted(numbers, key=str)
    )
    full = sum(1 << number for number in range(FIELDS[index].low, FIELDS[index].full + 1))
    numbers = full if "*" in values else sum(1 << value for value in values if value != "l")
    return _Read(
        mask=0 if nth else numbers,
        last="l" in values,
        nearest=next(iter(parsed.nearest_weekday), None),
        nth=nth,
    )
