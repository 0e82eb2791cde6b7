"""Commits that are made ahead of their instant: the same as those that would be made then, or none."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowstone as fs
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.partition_sets import Static
from flowstone.core.run import Identity
from flowstone.schedules.due import decide, same_until, wake_at
from flowstone.schedules.foresight import HORIZON, Foresight
from flowstone.schedules.messages import Foresee
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.rules import Rules

NOW = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)


def row_of(**options: Any) -> ScheduleRow:
    made = fs.Schedule("beat", **{"target": "raw", "every": "2s", **options})
    return ScheduleRow.new(made, NOW)


@pytest.fixture
def foresight() -> Foresight:
    raw = Asset(lambda context: 1, name="raw")
    keyed = Asset(lambda context: 1, name="keyed", partitions=Static(["a"]))
    return Foresight(Catalog([raw, keyed]), Rules(()), Identity("default", ""))


def test_an_instant_that_is_near_is_decided_ahead_and_once(foresight: Foresight) -> None:
    row, at = row_of(), NOW + timedelta(seconds=2)
    foresight.look(row, NOW)
    commit = foresight.take(row, at)
    assert commit is not None
    assert (commit.schedule, commit.accounted_until) == (row, at)
    assert [each.account.first for each in commit.prepared] == [at]
    assert commit.prepared[0].request.run_key == f"sched:beat:{int(at.timestamp())}"
    assert foresight.take(row, at) is None


@pytest.mark.parametrize("late", [timedelta(microseconds=-1), timedelta(seconds=1, microseconds=1)])
def test_before_the_instant_and_too_long_after_it_the_clock_decides(foresight: Foresight, late: timedelta) -> None:
    row = row_of()
    foresight.look(row, NOW)
    assert foresight.take(row, NOW + timedelta(seconds=2) + late) is None


def test_a_schedule_that_changed_since_is_decided_about_anew(foresight: Foresight) -> None:
    row = row_of()
    foresight.look(row, NOW)
    assert foresight.take(dataclasses.replace(row, version=row.version + 1), NOW + timedelta(seconds=2)) is None


@pytest.mark.parametrize(
    "options",
    [{"every": "1m"}, {"jitter": 1}, {"enabled": False}, {"target": "keyed"}, {"partition": lambda instant: "a"}],
    ids=["far", "jitter", "paused", "partitioned", "code of the user"],
)
def test_what_may_come_out_otherwise_is_left_to_the_instant(foresight: Foresight, options: dict[str, Any]) -> None:
    row = row_of(**options)
    foresight.look(row, NOW)
    assert foresight.take(row, wake_at(row)) is None


@pytest.mark.property
@given(
    every=st.integers(1, 7200),
    age=st.sampled_from([None, 1.0, 60.0, 86_400.0]),
    mode=st.sampled_from(["skip", "latest", "all"]),
    after=st.floats(0, 1),
)
def test_until_it_expires_a_decision_is_what_would_be_decided(every: int, age: Any, mode: str, after: float) -> None:
    row = row_of(every=every, misfire=fs.Misfire(mode, max_age=age) if age else mode)
    at = wake_at(row)
    decision = decide(row, at)
    until = same_until(row, decision)
    assert until is not None
    assert at < until <= at + max(HORIZON, timedelta(seconds=every))
    assert decide(row, at + (until - at) * after) == decision


def test_a_rule_that_is_code_of_the_user_is_asked_at_the_instant() -> None:
    raw = Asset(lambda context: 1, name="raw")
    beat = fs.Schedule("beat", target="raw", every="2s", partition=lambda instant: "a")
    foresight = Foresight(Catalog([raw]), Rules([beat]), Identity("default", ""))
    row = ScheduleRow.new(beat, NOW)
    foresight.look(row, NOW)
    assert foresight.take(row, wake_at(row)) is None


def test_what_can_not_be_decided_is_left_to_the_scheduler_which_says_so(foresight: Foresight) -> None:
    row = row_of(target="gone")
    foresight.look(row, NOW)
    assert foresight.take(row, wake_at(row)) is None


def test_a_schedule_that_is_gone_is_not_looked_at_ahead() -> None:
    with fs.Runtime(store="memory://") as runtime:
        scheduler = runtime.actor("services", "scheduler")
        scheduler.tell(Foresee(("nobody",)))
        assert scheduler.is_alive()
        runtime.drain(timeout=20)
        assert runtime.health().status == "ok"
