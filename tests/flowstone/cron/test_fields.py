"""Masks of minutes and days."""

import calendar
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.cron.fields import CALENDAR, SHAPES, DayOfMonth, DayOfWeek, Days, Fields, days

EPOCH = date(1970, 1, 1).toordinal()
FIRST, LAST = date.min.toordinal() - EPOCH, date.max.toordinal() - EPOCH
EVERY_MONTH = 0b1111111111110
EVERY_DAY = DayOfMonth((1 << 32) - 2, restricts=False)
EVERY_WEEKDAY = DayOfWeek(0b1111111, restricts=False)


@pytest.mark.parametrize("year", [1, 4, 100, 400, 1900, 2000, 2023, 2024, 2100, 9999])
@pytest.mark.parametrize("month", range(1, 13))
def test_the_table_knows_the_shape_of_each_month(year: int, month: int) -> None:
    first, length = calendar.monthrange(year, month)
    assert SHAPES[CALENDAR[year % 400 * 12 + month]] == ((first + 1) % 7, length)


def test_there_are_28_shapes_of_a_month() -> None:
    assert len(SHAPES) == len(set(SHAPES)) == 28
    assert {SHAPES[shape] for shape in CALENDAR[1:]} == set(SHAPES)


def test_each_day_of_the_calendar_is_known_as_such() -> None:
    assert days(EVERY_DAY, EVERY_WEEKDAY, EVERY_MONTH).every
    assert not days(EVERY_DAY, EVERY_WEEKDAY, EVERY_MONTH & ~2).every
    assert not days(DayOfMonth(0b10), EVERY_WEEKDAY, EVERY_MONTH).every


@pytest.mark.property
@given(st.sets(st.integers(1, 31), min_size=1), st.sets(st.integers(1, 12), min_size=1), st.integers(0, 127))
def test_possible_is_what_four_hundred_years_hold(numbers: set[int], months: set[int], weekdays: int) -> None:
    both = days(
        DayOfMonth(sum(1 << number for number in numbers)),
        DayOfWeek(weekdays, restricts=False),
        sum(1 << month for month in months),
    )
    start = date(2000, 1, 1).toordinal() - EPOCH
    found = both.first(start) if both.possible else both.first(LAST - 146_097)
    assert both.possible == (found is not None)


@pytest.mark.property
@given(
    st.sets(st.integers(1, 31), min_size=1, max_size=4),
    st.sets(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(1, 127),
    st.booleans(),
    st.integers(FIRST, LAST),
)
def test_first_and_last_are_inverse(
    numbers: set[int], months: set[int], weekdays: int, restricts: bool, day: int
) -> None:
    some = days(
        DayOfMonth(sum(1 << number for number in numbers)),
        DayOfWeek(weekdays, restricts=restricts),
        sum(1 << month for month in months),
    )
    found = some.first(day)
    if found is not None:
        assert found >= day
        assert some.last(found) == found
        before = some.last(found - 1)
        assert before is None or before < day or found == day


def test_the_calendar_ends_at_both_sides() -> None:
    new_year = days(DayOfMonth(0b10), EVERY_WEEKDAY, 0b10)
    assert new_year.first(FIRST) == FIRST
    assert new_year.last(FIRST) == FIRST
    assert new_year.last(FIRST - 1) is None
    assert new_year.first(date(9999, 1, 2).toordinal() - EPOCH) is None
    assert new_year.first(LAST + 1) is None
    assert days(DayOfMonth(0b100), EVERY_WEEKDAY, 0b10).last(FIRST) is None
    every = Fields(1, None, wildcard=False)
    assert every.first(LAST * 86_400) == LAST * 86_400
    assert every.first(LAST * 86_400 + 1) is None
    assert every.last(FIRST * 86_400) == FIRST * 86_400
    assert every.last(FIRST * 86_400 - 1) is None
    yearly = Fields(1, new_year, wildcard=False)
    assert yearly.last(FIRST * 86_400 - 1) is None
    assert yearly.first(LAST * 86_400) is None


def test_values_are_immutable() -> None:
    some = days(EVERY_DAY, EVERY_WEEKDAY, EVERY_MONTH)
    assert isinstance(some, Days)
    with pytest.raises(AttributeError):
        some.months = 0  # type: ignore[misc]
