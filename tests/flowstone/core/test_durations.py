"""Durations: what users write, in seconds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone import durations
from flowstone.errors import TimeoutExceeded, ValidationError
from flowstone.outcome import Outcome


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("50ms", 0.05), ("30s", 30.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86400.0), ("1.5h", 5400.0),
        (3, 3.0), (0.25, 0.25), (0, 0.0), (timedelta(minutes=1), 60.0),
    ],
)
def test_numbers_timedeltas_and_texts_are_read(value: object, seconds: float) -> None:
    assert durations.seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "30", "30 s", "-30s", "1w", "s", "1e3s", "٣s", "9" * 400 + "d", None, True, b"30s", [1], "30S", "30s\n",
     float("nan"), float("inf"), -1, -0.5, timedelta(seconds=-1), 10**400],
)
def test_anything_else_is_refused_and_the_message_names_option_and_value(value: object) -> None:
    with pytest.raises(ValidationError, match="expected timeout"):
        durations.seconds(value, "timeout")


def test_what_is_below_the_minimum_is_refused() -> None:
    assert durations.seconds("1ms", minimum=0.001) == 0.001
    with pytest.raises(ValidationError, match="every to be at least 1ms, got: 0"):
        durations.seconds(0, minimum=0.001)


def test_what_no_calendar_and_no_timer_can_count_is_refused() -> None:
    assert durations.seconds("36500d") == durations.LONGEST
    for value in ("36501d", 1e12, timedelta.max, 1e300):
        with pytest.raises(ValidationError, match="expected after to be at most 36500d, got: "):
            durations.seconds(value, "after")


@pytest.mark.property
@given(st.floats(min_value=0, max_value=1e9, allow_subnormal=False))
def test_the_text_of_a_duration_reads_back_exactly(seconds: float) -> None:
    assert durations.seconds(durations.text(seconds)) == seconds


def test_the_text_of_a_duration_uses_the_largest_unit_that_divides_it() -> None:
    assert [durations.text(s) for s in (30, 60, 90, 3600, 86400, 0.05, 0, 1.5)] == [
        "30s", "1m", "90s", "1h", "1d", "50ms", "0s", "1.5s",
    ]


def test_an_outcome_unwraps_to_the_value_the_error_or_the_timeout() -> None:
    assert Outcome(value=None).unwrap() is None
    assert Outcome(value=3).ok
    with pytest.raises(KeyError):
        Outcome(error=KeyError("x")).unwrap()
    with pytest.raises(TimeoutExceeded, match="after 2 s"):
        Outcome(timed_out=True, duration=2.0).unwrap()
    assert not Outcome(timed_out=True).ok
