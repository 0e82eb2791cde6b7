"""Rules of semantics 4 about partition rules: the scheduled instant in the schedule's zone, and the ready ones."""

import functools
import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.partition_sets import Daily, Hourly, Monthly, Weekly
from flowstone.errors import ValidationError
from flowstone.schedules.rules import (
    READY,
    Rules,
    is_ready,
    previous_day,
    previous_hour,
    previous_month,
    previous_week,
    read_rule,
    rule_text,
    this_day,
    this_hour,
    this_month,
    this_week,
)
from flowstone.schedules.schedule import Schedule
from flowstone.zones import zone


def local(text, name="America/New_York"):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone(zone(name))


def test_rules_of_dates_go_by_the_zone():
    instant = local("2025-03-01T04:30")  # 23:30 on 28 February, a Friday, in New York
    assert (this_day(instant), previous_day(instant)) == (date(2025, 2, 28), date(2025, 2, 27))
    assert (this_week(instant), previous_week(instant)) == (date(2025, 2, 24), date(2025, 2, 17))
    assert (this_month(instant), previous_month(instant)) == (date(2025, 2, 1), date(2025, 1, 1))


def test_rules_of_hours_give_the_start_of_the_hour_in_utc():
    instant = local("2025-01-15T07:45", "Asia/Kolkata")  # 13:15 there
    assert this_hour(instant) == datetime(2025, 1, 15, 7, 30, tzinfo=UTC)
    assert previous_hour(instant) == datetime(2025, 1, 15, 6, 30, tzinfo=UTC)
    assert this_hour(instant).tzinfo is UTC


def test_hours_of_a_fold_are_two():
    second_pass = local("2025-11-02T06:15")  # 01:15 for the second time in New York
    assert this_hour(second_pass) == datetime(2025, 11, 2, 6, tzinfo=UTC)
    assert previous_hour(second_pass) == datetime(2025, 11, 2, 5, tzinfo=UTC)


def test_the_hour_before_a_gap_is_the_one_that_was():
    after = local("2025-03-09T07:15")  # 03:15 in New York; 02:15 did not occur
    assert previous_hour(after) == datetime(2025, 3, 9, 6, tzinfo=UTC)


@pytest.mark.property
@given(
    instant=st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1)),
    name=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_the_rule_of_this_period_is_the_key_of_the_partition_set(instant, name):
    instant = instant.replace(tzinfo=UTC).astimezone(zone(name))
    for rule, kind in ((this_day, Daily), (this_week, Weekly), (this_month, Monthly)):
        assert rule(instant) == kind(start="2000-01-01", timezone=name).key_of(instant)
    if name == "UTC":
        assert this_hour(instant) == Hourly(start="2000-01-01T00:00:00").key_of(instant)


@pytest.mark.parametrize("name", READY)
def test_a_ready_rule_is_stored_and_read_by_its_name(name):
    assert rule_text(read_rule(name)) == name
    assert is_ready(READY[name])
    assert Rules().find("report", name) is READY[name]


class Callable:
    def __call__(self, instant):
        return "instance"


def rule(instant):
    return "module"


def test_a_function_of_a_module_is_stored_by_its_name_and_found_where_it_was_imported():
    assert rule_text(json.loads) == "json:loads"
    assert Rules().find("report", "json:loads") is json.loads
    assert Rules().find("report", "json:JSONDecoder.decode") is json.JSONDecoder.decode


@pytest.mark.parametrize("text", ["not_imported:rule", "json:nothing", "json:__name__", "json", "json:<lambda>"])
def test_a_name_that_no_imported_module_has_is_an_error(text):
    with pytest.raises(ValidationError, match="to be a function of a module imported here"):
        Rules().find("report", text)


def test_text_in_the_store_imports_nothing():
    import sys

    assert "this" not in sys.modules
    with pytest.raises(ValidationError):
        Rules().find("report", "this:s")
    assert "this" not in sys.modules


def test_no_text_is_the_default_rule():
    assert rule_text(None) is None
    assert Rules().find("report", None) is None


@pytest.mark.parametrize("value", [lambda instant: 1, functools.partial(rule), Callable()])
def test_any_callable_is_a_rule_that_this_process_remembers(value):
    rules = Rules([Schedule("report", every=60, partition=value)])
    text = rule_text(value)
    assert "<" in text
    assert rules.find("report", text) is value
    with pytest.raises(ValidationError):
        rules.find("other", text)


def test_a_rule_is_given_again_by_learning_it():
    rules = Rules()
    rules.learn("report", None)
    rules.learn("report", rule)
    assert rules.find("report", rule_text(rule)) is rule
