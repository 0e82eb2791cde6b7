"""The text of a cron expression: checked and split into its five fields before any parser sees it.

The grammar is Debian's crontab(5) with croniter's `L`, `nW`, `n#k`, `Ln` and `H`, less what readers of cron disagree
about. Whatever passes here means one thing only, so the parser's own holes (it reads `5-5` as the whole cycle,
wraps `50-10`, accepts `*/100`) are never reached.
"""

import re
from dataclasses import dataclass, field

from flowstone.errors import CronError, shown

__all__ = ["FIELDS", "Field", "refuse", "split"]

LONGEST = 256
MONTHS = {name: i for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
WEEKDAYS = {name: i for i, name in enumerate("sun mon tue wed thu fri sat".split())}
NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_WORDS = re.compile(r"[^ \t\r\n\f\v]+")
_ITEM = re.compile(r"(?P<start>\*|[0-9]+|[a-z]+)(?:-(?P<end>[0-9]+|[a-z]+))?(?:/(?P<step>[0-9]+))?")
_HASH = re.compile(r"h(?:\((?P<start>[0-9]+)-(?P<end>[0-9]+)\))?(?:/(?P<step>[0-9]+))?")
_RANDOM = re.compile(r"r(\(.*)?(/.*)?")
_NEAREST = re.compile(r"([0-9]+)w|w([0-9]+)")
_LAST_WEEKDAY = re.compile(r"l([0-9]+)")
_NTH = re.compile(r"(?P<days>[0-9]+|[a-z]+(?:-[a-z]+)?)#(?P<nth>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Field:
    """What one of the five fields may hold: numbers from `low` to `high`, which `names` may stand for."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict)

    @property
    def full(self) -> int:
        """The last number of a whole cycle: a week ends with 6, although 7 is Sunday too."""
        return 6 if self is WEEKDAY else self.high


DAY = Field("day-of-month", 1, 31)
WEEKDAY = Field("day-of-week", 0, 7, WEEKDAYS)
FIELDS = (Field("minute", 0, 59), Field("hour", 0, 23), DAY, Field("month", 1, 12, MONTHS), WEEKDAY)


def split(expression: str) -> tuple[str, ...]:
    """Return the five fields of an expression, in lower case, each legal by itself; `@names` are spelled out.

    >>> split("*/15 9-17 * JAN mon-fri")
    ('*/15', '9-17', '*', 'jan', 'mon-fri')

    Raises:
        CronError: the expression breaks a rule; it names the expression, the field and the reason.
    """
    if len(expression) > LONGEST:
        raise refuse(expression, "expression", f"expected at most {LONGEST} characters, got {len(expression)}")
    if not expression.isascii():
        raise refuse(expression, "expression", "expected ASCII characters only")
    words = _WORDS.findall(expression.lower())
    if len(words) == 1 and words[0].startswith("@"):
        words = _named(expression, words[0]).split()
    if len(words) != len(FIELDS):
        raise refuse(expression, "expression", _miscounted(len(words)))
    for one, text in zip(FIELDS, words, strict=True):
        fault = _field_fault(one, text)
        if fault:
            raise refuse(expression, one.name, fault)
    _check_days(expression, words[2], words[4])
    return tuple(words)


def refuse(expression: object, place: str, reason: str) -> CronError:
    """Return the error that names an expression, the field in which it is wrong, and the reason."""
    return CronError(
        f"cron expression {shown(expression)}: {place}: {reason}",
        expression=expression if isinstance(expression, str) and len(expression) <= LONGEST else shown(expression),
        field=place,
        reason=reason,
    )


def _named(expression: str, word: str) -> str:
    if word in NAMED:
        return NAMED[word]
    if word == "@reboot":
        raise refuse(expression, "expression", "@reboot is no instant; start such work from the program itself")
    raise refuse(expression, "expression", f"unknown name; expected one of {' '.join(NAMED)}, or five fields")


def _miscounted(count: int) -> str:
    expected = f"expected 5 fields (minute hour day-of-month month day-of-week), got {count}"
    if count == len(FIELDS) + 1:
        return f'{expected}: libraries disagree whether seconds come first or last; use every="10s" below a minute'
    return expected


def _check_days(expression: str, day: str, weekday: str) -> None:
    # Beside another restricted field these are no set of days that could be OR'ed: readers of cron drop one of both.
    if day.startswith("*") or weekday.startswith("*"):
        return
    if "w" in day:
        raise refuse(expression, DAY.name, f"W can't be combined with day-of-week {weekday!r}; use two schedules")
    if "#" in weekday or _LAST_WEEKDAY.match(weekday):
        reason = f"{weekday!r} can't be combined with day-of-month {day!r}; use two schedules"
        raise refuse(expression, WEEKDAY.name, reason)


def _field_fault(one: Field, text: str) -> str | None:
    if _RANDOM.fullmatch(text):
        return "R is random, each process would compute other instants; H is a stable hash of the schedule's name"
    if one is DAY and (nearest := _NEAREST.fullmatch(text)):
        return _number_fault(one, nearest[1] or nearest[2])
    if hashed := _HASH.fullmatch(text):
        return _hash_fault(one, hashed)
    items = text.split(",")
    if one is WEEKDAY and 0 < sum(_is_special(item) for item in items) < len(items):
        return "# and L can't be in one list with plain weekdays; use two schedules"
    return next((fault for item in items if (fault := _item_fault(one, item))), None)


def _is_special(item: str) -> bool:
    return bool(_NTH.fullmatch(item) or _LAST_WEEKDAY.fullmatch(item))


def _item_fault(one: Field, item: str) -> str | None:
    if one is DAY and item == "l":
        return None
    if one is WEEKDAY and (last := _LAST_WEEKDAY.fullmatch(item)):
        return _number_fault(one, last[1])
    if one is WEEKDAY and (nth := _NTH.fullmatch(item)):
        if not 1 <= int(nth["nth"]) <= 5:
            return f"{item!r} asks for weekday number {nth['nth']} of a month; expected 1 to 5"
        item = nth["days"]
    parts = _ITEM.fullmatch(item)
    if not parts or (parts["start"] == "*" and parts["end"]):
        return _unreadable(one, item)
    return _range_fault(one, item, parts)


def _range_fault(one: Field, item: str, parts: re.Match[str]) -> str | None:
    start, end, step = parts["start"], parts["end"], parts["step"]
    if one is DAY and end == "l":
        end = "31"
    for value in (start, end):
        if value and value != "*" and (fault := _number_fault(one, value)):
            return fault if value.isdigit() else _unreadable(one, item)
    low = one.low if start == "*" else _number(one, start)
    high = one.full if end is None else _number(one, end)
    if one is WEEKDAY and high == 0 < low:
        high = 7
    if end is not None and low >= high:
        return f"the range {item!r} does not go up; write the values, or two ranges with a comma between"
    if step is not None and int(step) == 0:
        return f"the step of {item!r} is zero"
    if step is not None and low + int(step) > high:
        return f"the step of {item!r} never advances: {low} + {int(step)} is past {high}; write the value alone"
    return None


def _hash_fault(one: Field, parts: re.Match[str]) -> str | None:
    low, high = one.low, one.full
    if parts["start"]:
        low, high = int(parts["start"]), int(parts["end"])
        fault = _number_fault(one, parts["start"]) or _number_fault(one, parts["end"])
        if fault:
            return fault
        if low >= high:
            return f"the range of {parts[0].upper()!r} does not go up"
    if parts["step"] and not 0 < int(parts["step"]) <= high - low:
        return f"the step of {parts[0].upper()!r} never advances from {low} to {high}"
    return None


def _number_fault(one: Field, value: str) -> str | None:
    if not value.isdigit():
        return None if value in one.names else _unreadable(one, value)
    if not one.low <= int(value) <= one.high:
        return f"{value} is out of range {one.low}-{one.high}"
    return None


def _number(one: Field, value: str) -> int:
    return int(value) if value.isdigit() else one.names[value]


def _unreadable(one: Field, item: str) -> str:
    if item == "?":
        return "'?' is not cron's; write * for any day"
    if "h" in item and _HASH.fullmatch(item.split(",")[0]):
        return "H must be alone in its field"
    if "w" in item and one is DAY:
        return "W must be alone in its field, as in 15W"
    names = f", or names {next(iter(one.names))}-{list(one.names)[-1]}" if one.names else ""
    return f"can't read {item!r}; expected numbers {one.low}-{one.high}{names}, with * , - and /"
