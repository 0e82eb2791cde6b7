"""On a manual clock a call's timeout is a matter of the clock, and the clock waits for calls that get on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from actors import System
from actors.testing.manual_clock import ManualClock
from flowstone.executors.threads import ThreadExecutor

START = datetime(2025, 1, 15, tzinfo=UTC)


@pytest.fixture(params=[0.05])
def clock(request: pytest.FixtureRequest) -> ManualClock:
    return ManualClock(START, stall=request.param)


@pytest.fixture
def executor(clock: ManualClock, hang: object) -> Iterator[ThreadExecutor]:
    with System(clock=clock) as system:
        executor = ThreadExecutor("user", clock=clock, work=system.work, threads=2)
        yield executor
        executor.stop(0)


def test_a_call_that_hangs_times_out_when_the_clock_says_so(
    executor: ThreadExecutor, clock: ManualClock, answer: Any, hang: Any
) -> None:
    done = answer()
    call = executor.submit(hang(), timeout=60, name="call", then=done.then)
    clock.advance(59.999)
    assert done.outcomes == []
    assert call.since == START
    clock.advance(0.001)
    assert [outcome.timed_out for outcome in done.outcomes] == [True]
    assert executor.abandoned() == [call]


@pytest.mark.parametrize("clock", [20.0], indirect=True)
def test_time_does_not_go_on_before_a_call_has_ended(
    executor: ThreadExecutor, clock: ManualClock, answer: Any
) -> None:
    done, later = answer(), answer()
    executor.submit(clock.now, timeout=60, name="call", then=done.then)

    def go_on() -> None:
        executor.submit(clock.now, timeout=60, name="next", then=later.then)

    executor.submit(go_on, timeout=60, name="call", then=answer().then)
    clock.advance("1h")
    assert [done.outcomes[0].value, later.outcomes[0].value] == [START, START]
    assert done.outcomes[0].duration == 0
