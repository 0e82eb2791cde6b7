"""User code runs on threads of its own, each call has one outcome, and one that hangs is given up, never waited for."""

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest

import flowstone
from actors.backends.work import WorkCount
from actors.clock import RealClock, TimerHandle
from flowstone.errors import ExecutionError, RuntimeStopped, ValidationError
from flowstone.executors import threads as threads_module
from flowstone.executors.threads import ThreadExecutor

SHORT = 0.05
WAIT = 20.0
MakeExecutor = Callable[[int | None], ThreadExecutor]


def submit(
    executor: ThreadExecutor, fn: Any, *args: Any, answer: Any, timeout: float | None = None, name: str = "call"
) -> Any:
    return executor.submit(fn, *args, timeout=timeout, name=name, then=answer.then, ended=answer.ended)


def test_a_value_is_the_outcome_and_then_the_call_has_ended(executor: ThreadExecutor, answer: Any) -> None:
    done = answer()
    submit(executor, pow, 2, 10, answer=done)
    outcome = done.wait()
    assert (outcome.value, outcome.error, outcome.timed_out) == (1024, None, False)
    assert outcome.duration >= 0
    done.wait_ended()
    assert done.order == ["then", "ended"]


def test_user_code_runs_on_a_named_daemon_thread_of_the_executor(executor: ThreadExecutor, answer: Any) -> None:
    done = answer()
    submit(executor, threading.current_thread, answer=done)
    thread = done.wait().value
    assert thread.name.startswith("user-")
    assert thread.daemon
    assert done.threads == [thread.name]


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), gevent.GreenletExit(), GeneratorExit(), StopIteration(1)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_user_code_raises_is_an_outcome(executor_of: MakeExecutor, answer: Any, error: BaseException) -> None:
    def fail() -> None:
        raise error

    executor, failed, later = executor_of(1), answer(), answer()
    submit(executor, fail, answer=failed)
    submit(executor, int, answer=later)
    assert failed.wait().error is error
    assert later.wait().value == 0, "the thread goes on"


def test_an_async_function_is_run_to_its_end(executor: ThreadExecutor, answer: Any) -> None:
    async def half(number: int) -> int:
        return number // 2

    async def add(one: int, other: int) -> int:
        return sum(await asyncio.gather(half(2 * one), half(2 * other)))

    plain, partly = answer(), answer()
    submit(executor, add, 1, 2, answer=plain)
    submit(executor, partial(add, 3), 4, answer=partly)
    assert (plain.wait().value, partly.wait().value) == (3, 7)


def test_an_async_function_that_raises_is_an_outcome(executor: ThreadExecutor, answer: Any) -> None:
    async def fail() -> None:
        await asyncio.to_thread(int)
        raise SystemExit(3)

    done = answer()
    submit(executor, fail, answer=done)
    assert isinstance(done.wait().error, SystemExit)


def test_a_call_without_a_timeout_may_take_as_long_as_it_likes(
    executor: ThreadExecutor, answer: Any, hang: Any
) -> None:
    patient, done, quick = hang(), answer(), answer()
    submit(executor, patient, "late", answer=done)
    submit(executor, int, answer=quick)
    quick.wait()
    patient.let_go()
    assert done.wait().value == "late"
    assert executor.abandoned() == []


def test_a_call_that_outlasts_its_timeout_is_given_up_and_named(
    executor: ThreadExecutor, answer: Any, hang: Any
) -> None:
    before = datetime.now(UTC)
    stuck, done = hang(), answer()
    call = submit(executor, stuck, answer=done, timeout=SHORT, name="sensor s3")
    outcome = done.wait()
    assert (outcome.timed_out, outcome.value, outcome.error, outcome.duration) == (True, None, None, SHORT)
    assert executor.abandoned() == [call]
    assert call.name == "sensor s3"
    assert before <= call.since <= datetime.now(UTC)
    assert done.order == ["then"], "its thread is still busy"


def test_a_given_up_call_that_comes_back_only_ends(executor: ThreadExecutor, answer: Any, hang: Any) -> None:
    stuck, done = hang(), answer()
    submit(executor, stuck, "late", answer=done, timeout=SHORT)
    done.wait()
    stuck.let_go()
    done.wait_ended()
    assert done.order == ["then", "ended"]
    assert done.outcomes[0].timed_out
    assert executor.abandoned() == []


def test_a_call_that_ends_in_time_is_not_given_up_later(executor_of: MakeExecutor, answer: Any, hang: Any) -> None:
    executor, done, later = executor_of(1), answer(), answer()
    submit(executor, int, answer=done, timeout=SHORT)
    submit(executor, hang(), answer=later, timeout=2 * SHORT)
    assert later.wait().timed_out
    assert done.order == ["then", "ended"]


@pytest.fixture
def patient_interpreter() -> Iterator[None]:
    """A thread keeps the interpreter until it waits for something."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10.0)
    yield
    sys.setswitchinterval(interval)


def test_a_bounded_executor_runs_so_many_at_once_and_the_rest_in_order(
    executor_of: MakeExecutor, answer: Any, hang: Any
) -> None:
    executor = executor_of(2)
    calls, answers = [hang() for _ in range(5)], [answer() for _ in range(5)]
    order: list[int] = []
    for number, (call, done) in enumerate(zip(calls, answers, strict=True)):
        submit(executor, lambda call=call, number=number: (order.append(number), call()), answer=done)
    calls[0].wait_taken()
    calls[1].wait_taken()
    assert [call.taken for call in calls] == [True, True, False, False, False]
    for number, (call, done) in enumerate(zip(calls, answers, strict=True)):
        call.wait_taken()
        call.let_go()
        done.wait()
        assert number in order
    assert sorted(order[:2]) == [0, 1]
    assert order[2:] == [2, 3, 4]


def test_a_thread_that_was_given_up_is_replaced(executor_of: MakeExecutor, answer: Any, hang: Any) -> None:
    executor, waiting = executor_of(1), answer()
    stuck = [answer() for _ in range(3)]
    for done in stuck:
        submit(executor, hang(), answer=done, timeout=SHORT)
    submit(executor, int, answer=waiting)
    assert waiting.wait().value == 0
    assert [done.wait().timed_out for done in stuck] == [True] * 3
    assert len(executor.abandoned()) == 3


def test_waiting_for_a_thread_does_not_count_for_the_timeout(executor_of: MakeExecutor, answer: Any, hang: Any) -> None:
    executor, first, second = executor_of(1), answer(), answer()
    submit(executor, hang(), answer=first, timeout=3 * SHORT)
    submit(executor, pow, 2, 3, answer=second, timeout=SHORT)
    assert second.wait().value == 8
    assert first.wait().timed_out


def test_without_a_bound_calls_that_hang_never_delay_another(executor_of: MakeExecutor, answer: Any, hang: Any) -> None:
    executor, done = executor_of(None), answer()
    stuck = [hang() for _ in range(40)]
    for call in stuck:
        submit(executor, call, answer=answer())
    submit(executor, int, answer=done)
    assert done.wait().value == 0
    for call in stuck:
        call.wait_taken()


def test_a_burst_of_short_calls_is_served_by_few_threads(
    executor_of: MakeExecutor, answer: Any, patient_interpreter: None
) -> None:
    executor, answers = executor_of(None), [answer() for _ in range(200)]
    for done in answers:
        submit(executor, threading.current_thread, answer=done)
    assert len({done.wait().value for done in answers}) < 20


def test_calls_that_wait_for_each_other_all_have_a_thread(
    executor_of: MakeExecutor, answer: Any, patient_interpreter: None
) -> None:
    executor, answers, all_there = executor_of(32), [answer() for _ in range(64)], threading.Barrier(32)
    for done in answers:
        submit(executor, all_there.wait, WAIT, answer=done)
    assert sorted(done.wait().value for done in answers) == sorted([*range(32)] * 2)


def test_a_thread_serves_many_calls(executor_of: MakeExecutor, answer: Any) -> None:
    executor, names = executor_of(1), set()
    for _ in range(20):
        done = answer()
        submit(executor, threading.current_thread, answer=done)
        names.add(done.wait().value.name)
    assert names == {"user-1"}


def test_a_thread_with_nothing_to_do_ends(
    executor_of: MakeExecutor, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "IDLE_SECONDS", 0.01)
    executor, done, again = executor_of(None), answer(), answer()
    submit(executor, threading.current_thread, answer=done)
    thread = done.wait().value
    thread.join(20)
    assert not thread.is_alive()
    submit(executor, threading.current_thread, answer=again)
    assert again.wait().value is not thread


def test_a_call_begins_without_the_context_of_the_one_before(executor_of: MakeExecutor, answer: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    executor, first, second = executor_of(1), answer(), answer()
    submit(executor, variable.set, "left behind", answer=first)
    submit(executor, variable.get, answer=second)
    assert second.wait().value == "none"


@pytest.mark.parametrize("where", ["then", "ended"])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=lambda error: type(error).__name__)
def test_whoever_is_told_may_fail_without_harm(
    executor_of: MakeExecutor, answer: Any, caplog: pytest.LogCaptureFixture, where: str, error: BaseException
) -> None:
    def refuse(*_outcome: object) -> None:
        raise error

    executor, done = executor_of(1), answer()
    told = {"then": answer().then, "ended": None, where: refuse}
    executor.submit(int, timeout=None, name="unlucky", **told)
    submit(executor, int, answer=done)
    assert done.wait().value == 0
    assert "unlucky" in caplog.text


def test_whoever_is_told_may_submit_the_next_call(executor_of: MakeExecutor, answer: Any) -> None:
    executor, last = executor_of(1), answer()
    executor.submit(
        int, timeout=None, name="first", then=lambda _outcome: submit(executor, pow, 2, 3, answer=last)
    )
    assert last.wait().value == 8


def test_work_in_flight_is_counted_until_then_has_returned(
    executor: ThreadExecutor, work: Any, answer: Any, hang: Any
) -> None:
    call, done, counts = hang(), answer(), []
    executor.submit(
        call,
        timeout=None,
        name="poll s3",
        then=lambda outcome: (counts.append(work.pending()), done.then(outcome)),
        ended=done.ended,
    )
    assert work.pending() == ["user: poll s3"]
    call.let_go()
    done.wait_ended()
    assert counts == [["user: poll s3"]]
    assert work.pending() == []


def test_a_call_that_was_given_up_is_work_no_more(executor: ThreadExecutor, work: Any, answer: Any, hang: Any) -> None:
    stuck, done, later = hang(), answer(), answer()
    submit(executor, stuck, answer=done, timeout=SHORT)
    done.wait()
    submit(executor, int, answer=later)
    later.wait_ended()
    assert work.pending() == []


def test_after_stop_nothing_is_taken(executor: ThreadExecutor, answer: Any) -> None:
    executor.stop(0)
    executor.stop(0)
    with pytest.raises(RuntimeStopped, match="user is stopped and takes no call"):
        submit(executor, int, answer=answer())


def test_stop_waits_for_what_runs(executor: ThreadExecutor, answer: Any, hang: Any) -> None:
    call, done = hang(), answer()
    submit(executor, call, "in time", answer=done)
    call.wait_taken()
    stopping = threading.Thread(target=executor.stop, args=(20,))
    stopping.start()
    call.let_go()
    stopping.join(20)
    assert not stopping.is_alive()
    assert done.outcomes[0].value == "in time"


def test_stop_tells_those_that_still_run_and_those_that_wait(
    executor_of: MakeExecutor, work: Any, answer: Any, hang: Any
) -> None:
    executor = executor_of(1)
    call, running, waiting = hang(), answer(), answer()
    submit(executor, call, answer=running, name="slow")
    submit(executor, int, answer=waiting, name="queued")
    executor.stop(0)
    assert [type(done.wait().error) for done in (running, waiting)] == [RuntimeStopped] * 2
    assert "queued" in str(waiting.outcomes[0].error)
    assert (running.order, waiting.order) == (["then"], ["then", "ended"])
    assert [one.name for one in executor.abandoned()] == ["slow"]
    assert work.pending() == []
    call.let_go()
    running.wait_ended()
    assert running.order == ["then", "ended"]


def test_stop_does_not_wait_for_what_was_given_up(executor: ThreadExecutor, answer: Any, hang: Any) -> None:
    done = answer()
    submit(executor, hang(), answer=done, timeout=SHORT)
    done.wait()
    executor.stop(3600)


def test_idle_threads_end_with_stop(executor: ThreadExecutor, answer: Any) -> None:
    done = answer()
    submit(executor, threading.current_thread, answer=done)
    thread = done.wait().value
    executor.stop(20)
    thread.join(20)
    assert not thread.is_alive()


def test_when_the_system_has_no_thread_left_the_call_fails(
    executor_of: MakeExecutor, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_name: str, _fn: object) -> None:
        raise RuntimeError("can't start new thread")

    executor, done, later = executor_of(1), answer(), answer()
    with monkeypatch.context() as patched:
        patched.setattr(threads_module, "start_thread", refuse)
        submit(executor, int, answer=done)
    error = done.wait().error
    assert isinstance(error, ExecutionError)
    assert error.retryable
    assert done.order == ["then", "ended"]
    submit(executor, int, answer=later)
    assert later.wait().value == 0


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_is_at_least_one(executor_of: MakeExecutor, threads: int) -> None:
    with pytest.raises(ValidationError, match="threads"):
        executor_of(threads)


FORK = """
import os
from actors.backends.work import WorkCount
from actors.clock import RealClock
from flowstone.errors import ForkedRuntime
from flowstone.executors.threads import ThreadExecutor
executor = ThreadExecutor("user", clock=RealClock(), work=WorkCount(), threads=None)
if os.fork() == 0:
    try:
        executor.submit(int, timeout=None, name="call", then=print)
    except ForkedRuntime:
        print("refused", flush=True)
    os._exit(0)
os.wait()
"""


PATCHED = """
from gevent import monkey
monkey.patch_all()
import asyncio
from actors import System
from actors.raw import Lock, get_ident
from flowstone.executors.threads import ThreadExecutor

async def wait():
    await asyncio.wait_for(asyncio.gather(asyncio.to_thread(int)), 20)
    return get_ident()

def hang():
    stuck.acquire()

stuck = Lock()
stuck.acquire()
main = get_ident()
with System() as system:
    executor = ThreadExecutor("user", clock=system.clock, work=system.work, threads=None)
    for fn in (get_ident, wait, hang):
        outcome = system.future()
        executor.submit(fn, timeout=0.5, name=fn.__name__, then=outcome.set)
        outcome = outcome.get(timeout=20)
        print(fn.__name__, outcome.timed_out or outcome.unwrap() != main)
    executor.stop(20)
"""


def printed(script: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(flowstone.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.splitlines()


def test_a_child_of_fork_is_refused() -> None:
    assert printed(FORK) == ["refused"]


def test_in_a_patched_process_user_code_runs_on_threads_of_the_operating_system() -> None:
    assert printed(PATCHED) == ["get_ident True", "wait True", "hang True"]


@pytest.mark.concurrent
def test_each_call_is_told_once_however_close_its_end_and_its_timeout_are(
    executor: ThreadExecutor, answer: Any
) -> None:
    gate, answers = threading.Event(), [answer() for _ in range(200)]
    clock = RealClock()
    for number, done in enumerate(answers):
        submit(executor, gate.wait, 0.001 * (number % 5), answer=done, timeout=0.002)
    clock.call_after(0.1, gate.set)
    for done in answers:
        done.wait_ended()
    assert [done.order for done in answers] == [["then", "ended"]] * 200
    assert executor.abandoned() == []


class LateClock(RealClock):
    """A clock on which every timeout is over at once."""

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        fn()
        return super().call_after(delay, int)


def test_a_call_whose_time_is_over_before_it_began_is_not_made(answer: Any) -> None:
    executor, done, made = ThreadExecutor("user", clock=LateClock(), work=WorkCount(), threads=1), answer(), []
    submit(executor, made.append, 1, answer=done, timeout=SHORT)
    done.wait_ended()
    assert done.outcomes[0].timed_out
    assert done.order == ["then", "ended"]
    assert made == []
    assert executor.abandoned() == []
    executor.stop(20)


class DeafClock(RealClock):
    """A clock whose timers fire when the test says so, cancelled or not."""

    def __init__(self) -> None:
        super().__init__()
        self.armed: list[Callable[[], object]] = []

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        self.armed.append(fn)
        return super().call_after(3600, int)


def test_a_timer_that_fires_after_the_call_has_ended_changes_nothing(answer: Any) -> None:
    clock, done = DeafClock(), answer()
    executor = ThreadExecutor("user", clock=clock, work=WorkCount(), threads=1)
    submit(executor, pow, 2, 3, answer=done, timeout=SHORT)
    done.wait_ended()
    clock.armed[0]()
    assert [outcome.value for outcome in done.outcomes] == [8]
    assert executor.abandoned() == []
    executor.stop(20)


@pytest.mark.concurrent
def test_no_call_is_lost_to_a_thread_that_ends_for_lack_of_work(
    executor: ThreadExecutor, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "IDLE_SECONDS", 0.0001)
    for number in range(1000):
        done = answer()
        submit(executor, abs, number, answer=done)
        assert done.wait().value == number
