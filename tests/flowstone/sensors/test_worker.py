"""One sensor's actor: polls by timer and by hand, failures, timeouts, steering, crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from actors.testing import assert_actor_state, cast_and_sync, crash
from flowstone.outcome import Outcome
from flowstone.sensors import Arrival, NoTrigger, Poll, PollError, SensorSpec, Trigger
from flowstone.sensors.backoff import CAP
from flowstone.sensors.messages import Called
from flowstone.sensors.steering import pause

Spec = Callable[..., SensorSpec]


class Hang:
    """A poll that hangs until it is let go, and then answers."""

    def __init__(self, answer: Any = None) -> None:
        self.begun, self.gate, self.answer = threading.Event(), threading.Event(), answer or NoTrigger()
        self.thread: threading.Thread | None = None

    def __call__(self, state: Any) -> Any:
        self.thread = threading.current_thread()
        self.begun.set()
        self.gate.wait(20)
        return self.answer

    def let_go(self) -> None:
        self.gate.set()

    def end(self) -> None:
        """Let go a poll that was given up: its thread retires after all that follows from its end was begun."""
        self.gate.set()
        assert self.thread is not None
        self.thread.join(5)


def test_a_sensor_is_polled_once_an_interval(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    room.clock.advance("29s")
    assert room.statuses() == []
    room.clock.advance("1s")
    assert room.statuses() == ["no_trigger"]
    room.clock.advance("5m")
    assert len(made.sensor.states) == 11


def test_intervals_go_down_to_a_millisecond(room: Any, spec: Spec) -> None:
    made = spec(every="1ms")
    room.open(made)
    room.clock.advance("20ms")
    assert len(made.sensor.states) == 20
    keys = [row.eval_key for row in room.sensors.history("orders")]
    assert len(set(keys)) == 20


def test_a_sensor_without_an_interval_is_polled_by_hand_only(room: Any, spec: Spec) -> None:
    made = spec(PollError("x"), every=None)
    room.open(made)
    room.clock.advance("1h")
    assert made.sensor.states == []
    assert room.sensors.poll("orders").status == "error"
    assert room.sensors.poll("orders").status == "no_trigger"
    room.clock.advance("1h")
    assert len(made.sensor.states) == 2


def test_the_first_state_is_stored_at_the_start(room: Any, spec: Spec) -> None:
    room.open(spec(first={"seen": 0}))
    assert room.sensors.get("orders").state == {"seen": 0}
    assert_actor_state(room.sensors.ref("orders"), lambda s: s.name == "orders" and s.state == {"seen": 0})


def test_each_poll_gets_the_state_that_the_last_one_left(room: Any, spec: Spec) -> None:
    made = spec(NoTrigger(state=1), Trigger("a", state=2), NoTrigger(), PollError("x"), first=0)
    room.open(made)
    for _ in range(5):
        room.sensors.poll("orders")
    assert made.sensor.states == [0, 1, 2, 2, 2]


def test_a_state_that_the_poll_changes_in_place_is_not_committed(room: Any, spec: Spec) -> None:
    def spoil(state: Any) -> Any:
        state.append("spoilt")
        raise ValueError

    room.open(spec(spoil, first=[]))
    room.sensors.poll("orders")
    assert room.sensors.get("orders").state == []


def test_an_async_poll_is_awaited(room: Any, spec: Spec) -> None:
    async def poll(state: Any) -> Any:
        return Trigger("a")

    async def first() -> Any:
        return 7

    room.open(spec(poll, first=first, partition=str.upper))
    evaluation = room.sensors.poll("orders")
    assert (evaluation.status, evaluation.cursor_before["state"]) == ("triggered", 7)
    assert room.published == [("sensor_triggered", "orders", "A")]


def test_each_partition_is_published_after_the_commit(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("2025-01-15", Arrival("2025-01-16", key="1"), Arrival("x", key="1")), target="days"))
    room.sensors.poll("orders")
    assert room.statuses() == ["error"]
    room.close()
    twice = Arrival("2025-01-16", key="1")
    room.open(spec(Trigger("2025-01-15", twice, twice), target="days"))
    room.sensors.poll("orders")
    assert [(topic, name, day.isoformat()) for topic, name, day in room.published] == [
        ("sensor_triggered", "orders", "2025-01-15"),
        ("sensor_triggered", "orders", "2025-01-16"),
    ]


def test_a_message_polls_and_is_answered_with_the_evaluation(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("a")))
    ref = room.sensors.ref("orders")
    assert ref.ask(Poll(), timeout=5).status == "triggered"
    assert cast_and_sync(ref, Poll()).status == "no_trigger"
    ref.tell(Poll())
    room.settle()
    assert room.statuses() == ["triggered", "no_trigger", "no_trigger"]


def test_a_message_that_means_nothing_is_ignored(room: Any, spec: Spec) -> None:
    room.open(spec())
    assert room.sensors.ref("orders").ask("nonsense", timeout=5) is None
    assert room.sensors.poll("orders").status == "no_trigger"


@pytest.mark.concurrent
def test_fifty_polls_of_five_threads_make_fifty_evaluations_that_never_overlap(room: Any, spec: Spec) -> None:
    busy = threading.Lock()
    overlaps: list[str] = []

    def poll(state: Any) -> Any:
        if not busy.acquire(blocking=False):
            overlaps.append("overlap")
            return NoTrigger()
        busy.release()
        return Trigger(str(state), state=state + 1)

    room.open(spec(*[poll] * 50, first=0))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(room.sensors.poll("orders") for _ in range(10)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert len({answer.eval_id for answer in answers}) == 50
    assert [answer.status for answer in answers] == ["triggered"] * 50
    assert room.sensors.get("orders").state == 50
    assert room.sensors.get("orders").state_version == 50


def test_polls_by_hand_wait_for_the_one_in_progress_and_timers_fall_together(room: Any, spec: Spec) -> None:
    hang = Hang()
    made = spec(hang, timeout="1h")
    room.open(made)
    ref = room.sensors.ref("orders")
    answers = [ref.ask(Poll(), block=False) for _ in range(3)]
    assert hang.begun.wait(5)
    room.clock.advance("5m")
    hang.let_go()
    assert [answer.get(timeout=5).status for answer in answers] == ["no_trigger"] * 3
    room.settle()
    assert len(made.sensor.states) == 4
    room.clock.advance("30s")
    assert len(made.sensor.states) == 5


def test_polls_by_hand_leave_the_timer_alone(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    room.clock.advance("20s")
    for _ in range(3):
        room.sensors.poll("orders")
    room.clock.advance("9s")
    assert len(made.sensor.states) == 3
    room.clock.advance("1s")
    assert len(made.sensor.states) == 4


def test_a_failing_sensor_is_polled_ever_later_until_it_succeeds(room: Any, spec: Spec) -> None:
    made = spec(*[PollError("x")] * 3)
    room.open(made)
    polled = []
    while len(made.sensor.states) < 5:
        seen = len(made.sensor.states)
        room.clock.advance("1s")
        if len(made.sensor.states) > seen:
            polled.append(room.clock.monotonic())
    gaps = [later - earlier for earlier, later in zip(polled, polled[1:], strict=False)]
    assert 30 <= gaps[0] <= 34
    assert 60 <= gaps[1] <= 67
    assert 120 <= gaps[2] <= 133
    assert gaps[3] <= 30
    assert room.sensors.get("orders").consecutive_failures == 0


def test_a_poll_by_hand_works_while_the_sensor_backs_off_and_ends_it(room: Any, spec: Spec) -> None:
    made = spec(*[PollError("x")] * 6)
    room.open(made)
    for _ in range(6):
        room.sensors.poll("orders")
    assert room.sensors.get("orders").consecutive_failures == 6
    room.clock.advance("2m")
    assert len(made.sensor.states) == 6
    assert room.sensors.poll("orders").status == "no_trigger"
    room.clock.advance("30s")
    assert len(made.sensor.states) == 8


def test_a_broken_sensor_is_polled_at_the_cap(room: Any, spec: Spec) -> None:
    made = spec(*[PollError("x")] * 4, break_after=2, every="1s")
    room.open(made)
    room.clock.advance("10s")
    row = room.sensors.get("orders")
    assert (row.status, row.reason, len(made.sensor.states)) == ("broken", "failures", 2)
    room.clock.advance(CAP * 1.1)
    assert len(made.sensor.states) == 3


@pytest.mark.parametrize("mend", ["resume", "reset"])
def test_resume_and_reset_end_the_backoff(room: Any, spec: Spec, mend: str) -> None:
    made = spec(*[PollError("x")] * 2, break_after=2, every="1s")
    room.open(made)
    room.clock.advance("10s")
    if mend == "resume":
        room.sensors.resume("orders")
    else:
        room.sensors.reset("orders", 5)
    assert room.sensors.get("orders").status == "active"
    room.clock.advance("3s")
    assert len(made.sensor.states) == 5


def test_a_poll_that_outlasts_its_timeout_is_given_up_and_its_answer_ignored(room: Any, spec: Spec) -> None:
    hang = Hang(Trigger("late", state="late"))
    room.open(spec(hang, timeout="10s", every=None))
    answer = room.sensors.ref("orders").ask(Poll(), block=False)
    assert hang.begun.wait(5)
    room.clock.advance("10s")
    evaluation = answer.get(timeout=5)
    assert (evaluation.status, evaluation.reason, evaluation.reason_code) == ("error", "timeout", "timeout")
    assert [call.name for call in room.polls.abandoned()] == ["sensor orders"]
    hang.let_go()
    assert room.sensors.poll("orders").status == "no_trigger"
    assert (room.sensors.get("orders").state, room.published) == (None, [])


def test_with_too_many_abandoned_polls_no_other_is_begun_until_one_ends(room: Any, spec: Spec) -> None:
    hangs = [Hang(), Hang()]
    made = spec(*hangs, timeout="10s", every="20s")
    room.open(made)
    for hang in hangs:
        while not hang.begun.is_set():
            room.clock.advance("5s")
    room.clock.advance("10s")
    row = room.sensors.get("orders")
    assert (row.status, row.reason) == ("broken", "abandoned")
    evaluation = room.sensors.poll("orders")
    assert (evaluation.status, evaluation.reason) == ("skipped", "abandoned")
    room.clock.advance(CAP * 1.1)
    assert (room.statuses()[-1], len(made.sensor.states)) == ("skipped", 2)
    hangs[0].end()
    room.settle()
    assert room.sensors.get("orders").status == "active"
    room.clock.advance("2m")
    assert len(made.sensor.states) > 2
    hangs[1].let_go()


def test_a_paused_sensor_rests(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    row = room.sensors.pause("orders", reason="holiday", by="ann")
    assert (row.status, row.reason, row.state_version) == ("paused", "holiday", 1)
    room.clock.advance("5m")
    evaluation = room.sensors.poll("orders")
    assert (evaluation.status, evaluation.reason, made.sensor.states) == ("skipped", "paused", [])
    assert room.sensors.resume("orders").status == "active"
    room.clock.advance("30s")
    assert len(made.sensor.states) == 1


def test_a_pause_by_another_process_is_seen_when_the_timer_fires(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    now = room.clock.now()
    room.database.transact(lambda c: pause(c, "orders", reason=None, actor="ann", now=now))
    room.clock.advance("1m")
    assert (made.sensor.states, room.statuses()) == ([], [])


def test_what_a_poll_in_progress_sees_is_dropped_after_a_reset(room: Any, spec: Spec) -> None:
    hang = Hang(Trigger("a", state="old"))
    room.open(spec(hang, every=None))
    answer = room.sensors.ref("orders").ask(Poll(), block=False)
    assert hang.begun.wait(5)
    room.sensors.reset("orders", "new")
    hang.let_go()
    assert answer.get(timeout=5).status == "skipped_stale"
    row = room.sensors.get("orders")
    assert (row.state, row.state_version, room.published) == ("new", 1, [])


def test_with_a_full_queue_polls_by_the_timer_are_skipped(room: Any, spec: Spec) -> None:
    made = spec(Trigger("a", "b"))
    room.open(made, max_queue=1)
    room.sensors.poll("orders")
    room.clock.advance("30s")
    assert room.statuses() == ["triggered", "skipped"]
    assert room.sensors.history("orders")[0].reason == "backpressure"
    assert room.sensors.poll("orders").status == "no_trigger"
    assert len(made.sensor.states) == 2


def test_an_init_that_fails_is_tried_again_with_backoff(room: Any, spec: Spec) -> None:
    answers = iter([ValueError("boom"), ValueError("boom"), {"seen": 0}])

    def first() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = spec(first=first)
    room.open(made)
    assert room.statuses() == ["error"]
    error = room.sensors.history("orders")[0]
    assert (error.reason, error.cursor_before) == ("exception:ValueError: boom", None)
    assert error.eval_key.endswith(":none")
    assert room.sensors.poll("orders").status == "error"
    room.clock.advance("59s")
    assert room.statuses() == ["error", "error"]
    room.clock.advance("8s")
    assert room.statuses() == ["error", "error", "no_trigger"]
    assert made.sensor.states == [{"seen": 0}]


def test_an_init_that_gives_no_json_is_an_error(room: Any, spec: Spec) -> None:
    room.open(spec(first={1, 2}, every=None))
    assert room.sensors.history("orders")[0].reason_code == "bad_state"


def test_a_damaged_cursor_is_an_error_that_leaves_the_row_alone(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    room.database.transact(lambda c: c.execute("update sensor set cursor = 'nonsense'"))
    evaluation = room.sensors.poll("orders")
    assert (evaluation.status, evaluation.reason_code) == ("error", "bad_cursor")
    assert (room.sensors.get("orders").cursor, room.sensors.get("orders").state) == ("nonsense", None)
    assert made.sensor.states == []
    room.sensors.reset("orders", None)
    assert room.sensors.poll("orders").status == "no_trigger"


def test_a_cursor_that_another_process_took_away_is_made_again(room: Any, spec: Spec) -> None:
    room.open(spec(first=4, every="30s"))
    room.database.transact(lambda c: c.execute("update sensor set cursor = null"))
    assert room.sensors.poll("orders").cursor_before["state"] == 4


def test_a_sensor_that_crashes_goes_on_where_it_was(room: Any, spec: Spec) -> None:
    made = spec(NoTrigger(state=1), first=0)
    room.open(made)
    room.sensors.poll("orders")
    ref = room.sensors.ref("orders")
    crash(ref)
    room.settle()
    assert_actor_state(ref, lambda s: s.state == 1)
    room.clock.advance("30s")
    assert made.sensor.states == [0, 1]
    assert made.sensor.cleaned == []


def test_two_polls_never_overlap_not_even_over_a_crash(room: Any, spec: Spec) -> None:
    hang = Hang(Trigger("lost", state="lost"))
    made = spec(hang, first=0)
    room.open(made)
    ref = room.sensors.ref("orders")
    ref.tell(Poll())
    assert hang.begun.wait(5)
    crash(ref)
    answer = ref.ask(Poll(), block=False)
    room.clock.advance("1s")
    assert (len(made.sensor.states), answer.done) == (1, False)
    hang.let_go()
    assert answer.get(timeout=5).status == "no_trigger"
    assert made.sensor.states == [0, 0]
    assert room.statuses() == ["no_trigger"]


def test_after_a_restart_a_poll_that_is_overdue_comes_at_once(durable: Any, spec: Spec) -> None:
    made = spec()
    durable.open(made)
    durable.clock.advance("45s")
    durable.close()
    durable.clock.advance("10s")
    durable.open()
    assert len(made.sensor.states) == 1
    durable.clock.advance("5s")
    assert len(made.sensor.states) == 2
    durable.close()
    durable.clock.advance("1h")
    durable.open()
    assert len(made.sensor.states) == 3


def test_a_clock_that_was_set_back_silences_no_sensor(durable: Any, spec: Spec) -> None:
    made = spec(every="30s")
    durable.open(made)
    durable.clock.advance("1m")
    durable.close()
    durable.clock.set_wall(durable.clock.now() - timedelta(days=30))
    durable.open()
    durable.clock.advance("1m")
    assert len(made.sensor.states) == 4
    assert durable.statuses() == ["no_trigger"] * 4


def test_failures_survive_a_restart_with_their_backoff(durable: Any, spec: Spec) -> None:
    made = spec(*[PollError("x")] * 10)
    durable.open(made)
    for _ in range(4):
        durable.sensors.poll("orders")
    durable.close()
    durable.open()
    durable.clock.advance("3m")
    assert len(made.sensor.states) == 4
    durable.clock.advance("2m")
    assert len(made.sensor.states) == 5


def test_stopping_lets_the_sensor_clean_up_with_its_last_state(room: Any, spec: Spec) -> None:
    made = spec(NoTrigger(state=3))
    room.open(made)
    room.sensors.poll("orders")
    room.close()
    assert made.sensor.cleaned == [3]


def test_an_answer_of_another_generation_is_not_taken_for_this_polls(room: Any, spec: Spec) -> None:
    hang = Hang(NoTrigger(state="mine"))
    room.open(spec(hang, every=None))
    ref = room.sensors.ref("orders")
    answer = ref.ask(Poll(), block=False)
    assert hang.begun.wait(5)
    ref.tell(Called(0, Outcome(value=Trigger("stale", state="stale"))))
    hang.let_go()
    assert answer.get(timeout=5).cursor_after["state"] == "mine"
    assert_actor_state(ref, lambda s: s.stale_outcomes == 1)
