"""Intervals: multiples of whole seconds since the epoch."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.cron import Interval, Timing
from flowstone.errors import CronError, ValidationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
INTERVALS = st.integers(1, 10_000_000).map(Interval)


@pytest.mark.property
@given(INTERVALS, INSTANTS)
def test_next_is_the_next_multiple_and_previous_its_inverse(interval: Interval, instant: datetime) -> None:
    found = interval.next_after(instant)
    assert instant < found <= instant + timedelta(seconds=interval.seconds)
    assert (found - EPOCH) % timedelta(seconds=interval.seconds) == timedelta(0)
    before = interval.previous_before(found)
    assert found - before == timedelta(seconds=interval.seconds)
    assert before <= instant
    assert interval.next_after(before) == found
    assert interval.previous_before(instant) == (before if before < instant else before - (found - before))


@pytest.mark.property
@given(st.integers(60, 10_000_000).map(Interval), INSTANTS, st.integers(0, 100_000), st.integers(0, 100_000))
def test_between_adds_up(interval: Interval, a: datetime, one: int, two: int) -> None:
    b = a + timedelta(seconds=one)
    c = b + timedelta(seconds=two)
    assert interval.between(a, c) == interval.between(a, b) + interval.between(b, c)


@pytest.mark.parametrize(
    ("every", "seconds"), [("10s", 10), ("1m", 60), ("2h", 7200), (1, 1), (30.0, 30), (timedelta(minutes=5), 300)]
)
def test_durations_are_read(every: str | float | timedelta, seconds: int) -> None:
    interval = Interval(every)
    assert interval.seconds == seconds
    assert interval == Interval(seconds) and hash(interval) == hash(Interval(seconds))
    timing: Timing = interval
    assert timing.next_after(EPOCH) == EPOCH + timedelta(seconds=seconds)


def test_it_says_what_it_is() -> None:
    assert str(Interval("90s")) == "every 90s"
    assert str(Interval(timedelta(minutes=2))) == "every 2m"
    assert pickle.loads(pickle.dumps(Interval("90s"))) == Interval(90)


@pytest.mark.parametrize("every", ["50ms", 0, 0.5, 1.5, "1500ms", timedelta(milliseconds=1)])
def test_fractions_of_seconds_are_refused(every: str | float | timedelta) -> None:
    with pytest.raises(CronError, match="expected whole seconds, at least 1") as caught:
        Interval(every)
    assert caught.value.context["field"] == "every"


@pytest.mark.parametrize("every", ["", "10", "soon", None, True, -5, float("nan"), float("inf"), [10]])
def test_what_is_no_duration_is_refused(every: str) -> None:
    with pytest.raises(ValidationError, match="every"):
        Interval(every)


def test_the_ends_of_time_are_one_clear_error() -> None:
    day = Interval("1d")
    early = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert day.next_after(early) == datetime(1, 1, 1, tzinfo=UTC)
    assert day.previous_before(late) == datetime(9999, 12, 31, tzinfo=UTC)
    assert day.between(early, datetime(1, 1, 2, tzinfo=UTC)) == [datetime(1, 1, n, tzinfo=UTC) for n in (1, 2)]
    assert day.between(datetime(9999, 12, 30, tzinfo=UTC), late) == [datetime(9999, 12, 31, tzinfo=UTC)]
    with pytest.raises(CronError, match="every 1d has no instant after"):
        day.next_after(datetime(9999, 12, 31, tzinfo=UTC))
    with pytest.raises(CronError, match="every 1d has no instant before"):
        day.previous_before(datetime(1, 1, 1, tzinfo=UTC))
    with pytest.raises(CronError, match="no instant after"):
        Interval(10**15).next_after(datetime(2025, 1, 1, tzinfo=UTC))


def test_instants_must_be_aware() -> None:
    with pytest.raises(CronError, match="expected an aware datetime"):
        Interval("10s").next_after(datetime(2025, 1, 1))
