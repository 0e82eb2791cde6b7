"""Durations, as users write them and as seconds."""

import math
import re
from datetime import timedelta
from decimal import Decimal

from flowstone.errors import ValidationError, shown

__all__ = ["LONGEST", "seconds", "text"]

LONGEST = 36_500 * 86_400.0
"""Seconds of the longest duration, about a hundred years: no calendar and no timer ends before it."""

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_EXPECTED = 'seconds, a timedelta or a text such as "50ms" "30s" "10m" "2h" "1d"'
_SPELLED = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def seconds(value: object, what: str = "every", *, minimum: float = 0.0, maximum: float = LONGEST) -> float:
    """Seconds, from a number of seconds, a timedelta, or a text such as "50ms" "30s" "10m" "2h" "1d".

    `what` names the option in messages; less than `minimum` seconds is refused, and more than `maximum`.

    Raises:
        ValidationError: the value is none of these, not finite, below the minimum or over the maximum.

    >>> seconds("10m"), seconds(timedelta(hours=1)), seconds(0.25)
    (600.0, 3600.0, 0.25)
    """
    duration = _read(value)
    if duration is None or not math.isfinite(duration):
        raise ValidationError(f"expected {what} to be {_EXPECTED}, got: {shown(value)}", option=what)
    if duration < minimum:
        at_least = "not negative" if minimum == 0 else f"at least {text(minimum)}"
        raise ValidationError(f"expected {what} to be {at_least}, got: {shown(value)}", option=what)
    if duration > maximum:
        raise ValidationError(f"expected {what} to be at most {text(maximum)}, got: {shown(value)}", option=what)
    return duration


def text(duration: float) -> str:
    """The shortest exact text of a duration in seconds, not negative; `seconds` reads it back.

    >>> text(30), text(7200), text(0.05), text(90.5)
    ('30s', '2h', '50ms', '90.5s')
    """
    exact = Decimal(repr(float(duration)))
    if exact == 0:
        return "0s"
    for unit in ("d", "h", "m", "s") if exact >= 1 else ("ms",):
        count = exact / _UNITS[unit]
        if count == count.to_integral_value():
            return f"{int(count)}{unit}"
    return f"{exact.normalize():f}s"


def _read(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        spelled = _SPELLED.fullmatch(value)
        return float(Decimal(spelled[1]) * _UNITS[spelled[2]]) if spelled else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
