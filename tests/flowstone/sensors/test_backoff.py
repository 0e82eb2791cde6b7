"""When a sensor is polled next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.sensors.backoff import CAP, backoff, regular


@pytest.mark.parametrize(("failures", "wait"), [(1, 30.0), (2, 60.0), (3, 120.0), (5, 480.0), (6, CAP), (500, CAP)])
def test_each_failure_in_a_row_doubles_the_wait_up_to_the_cap(failures: int, wait: float) -> None:
    assert wait <= backoff("orders", failures, 30.0) <= wait * 1.1


def test_an_interval_above_the_cap_waits_the_cap() -> None:
    assert CAP <= backoff("orders", 1, 7200.0) <= CAP * 1.1


def test_a_broken_sensor_waits_the_cap() -> None:
    assert CAP <= backoff("orders", 1, 0.001, broken=True) <= CAP * 1.1


@pytest.mark.property
@given(st.text(max_size=20), st.integers(1, 10_000), st.floats(0.001, 1e6))
def test_the_spread_is_a_hash_of_sensor_and_failures(sensor: str, failures: int, interval: float) -> None:
    first = backoff(sensor, failures, interval)
    assert first == backoff(sensor, failures, interval)
    bare = min(CAP, interval * 2.0 ** min(failures - 1, 64))
    assert bare <= first <= bare * 1.1 + 1e-9


def test_sensors_that_fail_together_part() -> None:
    assert len({backoff(f"sensor-{number}", 1, 30.0) for number in range(50)}) == 50


@pytest.mark.property
@given(st.floats(0.001, 1e5), st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_next_regular_poll_is_after_now_and_within_an_interval(interval: float, due: float, later: float) -> None:
    now = due + later
    following = regular(due, interval, now)
    assert following > now
    assert following - now <= interval * 1.02 + 1e-6


@pytest.mark.property
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_timer_that_fires_a_rounding_error_early_does_not_poll_twice(interval_ms: int, steps: int) -> None:
    interval = interval_ms / 1000
    due, now = 17.3, 17.3
    for _ in range(min(steps, 50)):
        following = regular(due, interval, now)
        assert following - now > interval / 2
        now += following - now


def test_polls_before_the_first_due_instant_do_not_move_it() -> None:
    assert regular(100.0, 10.0, 42.0) == 100.0
