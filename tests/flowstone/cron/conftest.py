"""An oracle for cron: slow, literal, and written without any of the product's tricks.

It walks over the minutes of the clock on the wall, one by one, asks Python's own `fold` which instants show that
minute, and applies the rules of gap and fold to each. Nothing of it is shared with `flowstone.cron`.
"""

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

MINUTE = timedelta(minutes=1)
HOURS_3 = timedelta(hours=3)
NAMES = {
    **{name: str(i) for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)},
    **{name: str(i) for i, name in enumerate("sun mon tue wed thu fri sat".split())},
}
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


def numbers(text: str, low: int, high: int) -> set[int]:
    """The numbers of a plain field: a list of values, ranges and steps."""
    found: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        if body == "*":
            first, last = low, high
        elif "-" in body:
            first, last = (int(part) for part in body.split("-"))
        else:
            first, last = int(body), high if step else int(body)
        if high == 6 and last == 0 and first > 0:
            last = 7
        found |= set(range(first, last + 1, int(step or 1)))
    return {0 if high == 6 and number == 7 else number for number in found}


def day_of_month_matches(text: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if "w" in text:
        wanted = day.replace(day=min(int(text.strip("w")), last))
        same_month = [day.replace(day=number) for number in range(1, last + 1)]
        weekdays = [other for other in same_month if other.weekday() < 5]
        return day == min(weekdays, key=lambda other: (abs(other - wanted), other < wanted))
    if "l" in text.split(",") and day.day == last:
        return True
    plain = ",".join(item.replace("-l", "-31") for item in text.split(",") if item != "l")
    return bool(plain) and day.day in numbers(plain, 1, 31)


def day_of_week_matches(text: str, day: date) -> bool:
    weekday = day.isoweekday() % 7
    if not re.search("[l#]", text):
        return weekday in numbers(text, 0, 6)
    last = calendar.monthrange(day.year, day.month)[1]
    for item in text.split(","):
        if item.startswith("l") and weekday == int(item[1:]) % 7 and day.day + 7 > last:
            return True
        if "#" in item:
            days, nth = item.split("#")
            if weekday in numbers(days, 0, 6) and (day.day - 1) // 7 + 1 == int(nth):
                return True
    return False


class Matcher:
    """What an expression says about a minute of the clock on the wall."""

    def __init__(self, expression: str) -> None:
        text = NICKNAMES.get(expression.lower(), expression.lower())
        text = re.sub("[a-z]{3}", lambda name: NAMES[name[0]], text)
        self.minute, self.hour, self.day, self.month, self.weekday = text.split()
        self.wildcard = self.minute.startswith("*") or self.hour.startswith("*")
        self.minutes, self.hours = numbers(self.minute, 0, 59), numbers(self.hour, 0, 23)
        self.months = numbers(self.month, 1, 12)

    def matches_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day_of_month_matches(self.day, day), day_of_week_matches(self.weekday, day)
        if self.day.startswith("*") or self.weekday.startswith("*"):
            return in_month and in_week
        return in_month or in_week

    def walls(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The matching minutes of the naive span, both ends included."""
        wall = start.replace(second=0, microsecond=0)
        while wall <= end:
            if not self.matches_day(wall.date()):
                wall = (wall + timedelta(days=1)).replace(hour=0, minute=0)
                continue
            if wall.hour in self.hours and wall.minute in self.minutes:
                yield wall
            wall += MINUTE


def shown_at(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The instants at which the clock on the wall shows this."""
    passes = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(u for u in passes if u.astimezone(zone).replace(tzinfo=None, fold=0) == wall)


def end_of_gap(wall: datetime, zone: tzinfo) -> tuple[datetime, timedelta]:
    """The first instant after the gap that holds a wall time, and the size of the gap."""
    before, after = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert before is not None and after is not None
    # The wall time read with the offset of the other side lies on this side of the change.
    instant = (wall - after).replace(tzinfo=UTC)
    while instant.astimezone(zone).utcoffset() == before:
        instant += timedelta(seconds=1)
    return instant, after - before


def fixed_ticks(wall: datetime, zone: tzinfo, gap: str, fold: str) -> list[datetime]:
    instants = shown_at(wall, zone)
    if not instants:
        instant, size = end_of_gap(wall, zone)
        return [instant] if gap == "shift" and size <= HOURS_3 else []
    if len(instants) == 1 or fold == "both" or instants[1] - instants[0] > HOURS_3:
        return instants
    return instants[:1] if fold == "first" else instants[1:]


def oracle_ticks(
    expression: str, zone: ZoneInfo, start: datetime, end: datetime, gap: str = "shift", fold: str = "first"
) -> list[datetime]:
    """All instants after `start` up to and including `end`."""
    matcher = Matcher(expression)
    margin = timedelta(hours=50)
    walls = matcher.walls(start.replace(tzinfo=None) - margin, end.replace(tzinfo=None) + margin)
    found: set[datetime] = set()
    for wall in walls:
        found.update(shown_at(wall, zone) if matcher.wildcard else fixed_ticks(wall, zone, gap, fold))
    return sorted(instant for instant in found if start < instant <= end)


@pytest.fixture(scope="session")
def oracle() -> SimpleNamespace:
    """The oracle: `.ticks(expression, zone, start, end, gap=, fold=)` and `.Matcher(expression)`."""
    return SimpleNamespace(ticks=oracle_ticks, Matcher=Matcher)
