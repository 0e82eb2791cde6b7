"""What one poll commits, as semantics 5 has it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.catalog import Catalog
from flowstone.core.run import RunRequest
from flowstone.errors import FlowstoneError
from flowstone.outcome import Outcome
from flowstone.sensors import Arrival, NoTrigger, PollError, Sensor, SensorSpec, Trigger
from flowstone.sensors.backoff import CAP
from flowstone.sensors.evaluation import Evaluation, begin, decide, evaluation_id, first_cursor, skip
from flowstone.sensors.polling import call_poll
from flowstone.sensors.rows import Cause, EvaluationStatus, Fault, SensorRow, SensorStatus, SkipReason

CURSOR = '{"state":{"seen":1},"type":"Scripted","v":1}'


@pytest.fixture
def row(now: datetime) -> SensorRow:
    return SensorRow(
        name="orders",
        kind="poll",
        type="x.Scripted",
        config={},
        definition_version=1,
        interval=30.0,
        status=SensorStatus.ACTIVE,
        reason=None,
        faults=frozenset(),
        cursor_text=CURSOR,
        state_version=4,
        consecutive_failures=0,
        last_epoch=None,
        last_evaluation_at=None,
        next_poll_at=None,
        paused=False,
        orphaned=False,
        removed=False,
        created_at=now,
        updated_at=now,
    )


@pytest.fixture
def decided(
    spec: Callable[..., SensorSpec], row: SensorRow, catalog: Catalog, now: datetime
) -> Callable[..., Evaluation]:
    """The evaluation of an answer, or of a whole outcome."""

    def make(answer: Any, *, manual: str | None = None, abandoned: int = 0, **changed: Any) -> Evaluation:
        outcome = answer if isinstance(answer, Outcome) else Outcome(value=answer)
        options = {key: changed.pop(key) for key in ("target", "break_after") if key in changed}
        start = begin(replace(row, **changed), now, manual=manual)
        return decide(
            spec(**options), start, outcome, now=now, regular=12.0, abandoned=abandoned, catalog=catalog
        )

    return make


Decided = Callable[..., Evaluation]


def test_the_key_is_made_of_epoch_and_cursor(row: SensorRow, now: datetime) -> None:
    start = begin(row, now)
    assert start.epoch == int(now.timestamp()) // 30
    assert start.eval_key.startswith(f"sensor_eval:orders:poll:{start.epoch}:")
    assert len(start.eval_key.rpartition(":")[2]) == 64
    assert begin(replace(row, cursor_text=None), now).eval_key == f"sensor_eval:orders:poll:{start.epoch}:none"


def test_a_manual_poll_has_a_fresh_id_in_place_of_the_epoch(row: SensorRow, now: datetime) -> None:
    start = begin(replace(row, cursor_text=None), now, manual="abc")
    assert (start.eval_key, start.epoch, start.cause) == ("sensor_eval:orders:poll:abc:none", None, Cause.MANUAL)


@pytest.mark.property
@given(st.lists(st.integers(-(10**9), 10**9), max_size=30), st.sampled_from([0.001, 0.25, 30.0, 86400.0, None]))
def test_epochs_never_repeat_whatever_the_clock_does(moves: list[int], interval: float | None) -> None:
    now = datetime.fromisoformat("2025-01-15T12:00:00Z")
    seen: list[int] = []
    known: SensorRow = SensorRow(
        "orders", "poll", "x", {}, 1, interval, SensorStatus.ACTIVE, None, frozenset(), None, 0, 0, None, None, None,
        False, False, False, now, now,
    )  # fmt: skip
    for move in moves:
        epoch = begin(known, now + timedelta(milliseconds=move)).epoch
        assert epoch is not None
        seen.append(epoch)
        known = replace(known, last_epoch=epoch)
    assert seen == sorted(set(seen))


def test_an_evaluation_id_is_derived_from_key_and_number() -> None:
    ids = {evaluation_id(key, number) for key in ("a", "b") for number in range(3)}
    assert len(ids) == 6
    assert {len(identifier) for identifier in ids} == {31}


def test_a_trigger_asks_for_one_run_a_partition(decided: Decided) -> None:
    evaluation = decided(Trigger("a", "b", state={"seen": 3}))
    assert evaluation.status is EvaluationStatus.TRIGGERED
    assert evaluation.cursor_after == '{"state":{"seen":3},"type":"Scripted","v":1}'
    keys = [wanted.resolved.run_key for wanted in evaluation.requests]
    assert keys == [f"sensor:orders:{evaluation.eval_id}:0", f"sensor:orders:{evaluation.eval_id}:1"]
    assert [wanted.resolved.asset for wanted in evaluation.requests] == ["raw", "raw"]
    assert evaluation.requests[0].resolved.source.evaluation_id == evaluation.eval_id
    assert (evaluation.failures, evaluation.faults, evaluation.delay) == (0, frozenset(), 12.0)


def test_text_is_read_by_the_set_of_the_target(decided: Decided) -> None:
    evaluation = decided(Trigger("2025-01-15"), target="days")
    assert evaluation.requests[0].resolved.partition == "d:2025-01-15"
    assert evaluation.requests[0].partition.isoformat() == "2025-01-15"  # type: ignore[union-attr]  # a date


def test_a_run_request_may_name_any_asset_and_key(decided: Decided) -> None:
    wanted = decided(Trigger(RunRequest("days", "2025-02-01", run_key="mine", priority=3))).requests[0]
    assert (wanted.resolved.asset, wanted.resolved.run_key, wanted.resolved.priority) == ("days", "mine", 3)


def test_an_arrival_carries_key_and_payload(decided: Decided) -> None:
    wanted = decided(Trigger(Arrival("a", key="k\udcff", payload={"size": 1}))).requests[0]
    assert (wanted.arrival, wanted.resolved.payload, wanted.partition) == ("k\\udcff", {"size": 1}, "a")


def test_keys_that_are_seen_may_come_with_any_answer(decided: Decided) -> None:
    assert decided(Trigger("a", seen=["x"])).seen == ("x",)
    assert decided(NoTrigger(seen=("y",))).seen == ("y",)


@pytest.mark.parametrize("answer", [Trigger("a"), NoTrigger()])
def test_an_answer_without_a_state_keeps_the_cursor(decided: Decided, answer: Any) -> None:
    assert decided(answer).cursor_after == CURSOR


def test_none_is_a_state_like_any_other(decided: Decided) -> None:
    assert decided(NoTrigger(state=None)).cursor_after == '{"state":null,"type":"Scripted","v":1}'


def test_no_trigger_may_have_a_reason(decided: Decided) -> None:
    evaluation = decided(NoTrigger(reason="no growth\x00"))
    assert (evaluation.status, evaluation.reason) == (EvaluationStatus.NO_TRIGGER, "no growth\\x00")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


NONSENSE: list[tuple[Any, str, str]] = [
    (Outcome(timed_out=True), "timeout", "timeout"),
    (Outcome(error=ValueError("boom")), "exception:ValueError", "exception:ValueError: boom"),
    (Outcome(error=SystemExit()), "exception:SystemExit", "exception:SystemExit"),
    (Outcome(error=Unprintable()), "exception:Unprintable", "exception:Unprintable: Unprintable()"),
    (Outcome(error=ValueError("x" * 9000)), "exception:ValueError", "exception:ValueError: " + "x" * 1978),
    (Outcome(error=ValueError("\udcff")), "exception:ValueError", "exception:ValueError: \\udcff"),
    (Outcome(error=PollError("down")), "poll_error", "poll_error: down"),
    (PollError("down"), "poll_error", "poll_error: down"),
    (PollError("no", code="http_status:503"), "http_status:503", "http_status:503: no"),
    (None, "bad_answer", "bad_answer: expected poll to answer Trigger, NoTrigger or PollError, got: None (NoneType)"),
    (Trigger, "bad_answer", "bad_answer: expected poll to answer Trigger"),
    (NoTrigger(state={1, 2}), "bad_state", "bad_state: expected the state to be JSON"),
    (Trigger("a", state=(1,)), "bad_state", "bad_state: expected the state to be JSON"),
    (Trigger(1.5), "partition_error", "partition_error"),  # type: ignore[arg-type]  # what the test is about
    (Trigger(["a"]), "partition_error", "partition_error"),  # type: ignore[arg-type]  # what the test is about
    (Trigger(RunRequest("days", "2024-02-01")), "partition_error", "partition_error"),
    (Trigger(RunRequest("rwa", "a")), "asset_not_found", "asset_not_found"),
    (Trigger(Arrival("a", payload=object())), "validation_error", "validation_error: expected the payload to be JSON"),
    (Trigger(Arrival("a", payload="x" * 65_536)), "validation_error", "validation_error: expected a payload of at"),
]


@pytest.mark.parametrize(("answer", "code", "reason"), NONSENSE)
def test_what_can_not_be_committed_is_an_error_that_changes_nothing(
    decided: Decided, answer: Any, code: str, reason: str
) -> None:
    evaluation = decided(answer)
    assert evaluation.status is EvaluationStatus.ERROR
    assert evaluation.reason_code == code
    assert evaluation.reason is not None
    assert evaluation.reason.startswith(reason)
    assert (evaluation.cursor_after, evaluation.requests, evaluation.failures) == (CURSOR, (), 1)
    assert evaluation.delay is not None
    assert 30.0 <= evaluation.delay <= 33.0
    assert evaluation.next_poll_at == evaluation.at + timedelta(seconds=evaluation.delay)


def test_a_trigger_without_items_is_refused_where_it_is_made() -> None:
    with pytest.raises(FlowstoneError, match="at least one partition"):
        Trigger()


@pytest.mark.parametrize("key", ["", 7])
def test_a_bad_arrival_key_is_refused_where_it_is_made(key: Any) -> None:
    with pytest.raises(FlowstoneError, match="expected key of an Arrival"):
        Arrival("a", key=key)


def test_a_poll_error_survives_pickling_with_its_code() -> None:
    copied = pickle.loads(pickle.dumps(PollError("no", code="http_status:503")))
    assert (copied.reason, copied.code, str(copied)) == ("no", "http_status:503", "no")


def test_a_sensor_without_init_begins_with_none_and_cleans_up_nothing() -> None:
    class Least(Sensor):
        def poll(self, state: Any) -> Any:
            return NoTrigger()

    assert (Least().init(), Least().cleanup(None)) == (None, None)


def test_as_many_failures_as_break_after_break_the_sensor(decided: Decided) -> None:
    assert decided(PollError("x"), break_after=3, consecutive_failures=1).faults == frozenset()
    broken = decided(PollError("x"), break_after=3, consecutive_failures=2)
    assert broken.faults == {Fault.FAILURES}
    assert broken.delay is not None
    assert CAP <= broken.delay <= CAP * 1.1


def test_as_many_abandoned_polls_as_allowed_break_the_sensor(decided: Decided) -> None:
    assert decided(Outcome(timed_out=True), abandoned=1).faults == frozenset()
    assert decided(Outcome(timed_out=True), abandoned=2).faults == {Fault.ABANDONED}


def test_a_success_ends_the_failures_and_returns_to_the_interval(decided: Decided) -> None:
    evaluation = decided(NoTrigger(), consecutive_failures=25, faults=frozenset({Fault.FAILURES}))
    assert (evaluation.failures, evaluation.faults, evaluation.delay) == (0, frozenset(), 12.0)


def test_a_success_while_calls_are_abandoned_stays_slow(decided: Decided) -> None:
    delay = decided(NoTrigger(), abandoned=2).delay
    assert delay is not None
    assert delay >= CAP


def test_a_manual_poll_leaves_the_timer_unless_it_changes_the_pace(decided: Decided) -> None:
    assert decided(NoTrigger(), manual="m").delay is None
    assert decided(NoTrigger(), manual="m").next_poll_at is None
    assert decided(NoTrigger(), manual="m", consecutive_failures=1).delay == 12.0
    assert decided(PollError("x"), manual="m").delay is not None
    assert decided(NoTrigger(), manual="m", faults=frozenset({Fault.CRASHES})).delay is None


def test_a_sensor_without_an_interval_has_no_timer(
    spec: Callable[..., SensorSpec], row: SensorRow, now: datetime, catalog: Catalog
) -> None:
    start = begin(replace(row, interval=None), now, manual="m")
    failed = decide(
        spec(every=None), start, Outcome(value=None), now=now, regular=None, abandoned=0, catalog=catalog
    )
    assert (failed.status, failed.delay) == (EvaluationStatus.ERROR, None)


def test_a_skip_keeps_everything(row: SensorRow, now: datetime) -> None:
    failing = replace(row, consecutive_failures=2)
    timer = skip(begin(failing, now), SkipReason.BACKPRESSURE, now=now, regular=12.0)
    assert (timer.status, timer.reason, timer.failures, timer.delay) == ("skipped", "backpressure", 2, 12.0)
    manual = skip(begin(failing, now, manual="m"), SkipReason.PAUSED, now=now, regular=12.0)
    assert (manual.cursor_after, manual.delay) == (CURSOR, None)
    slow = skip(begin(failing, now), SkipReason.ABANDONED, now=now, regular=12.0)
    assert slow.delay is not None
    assert slow.delay >= CAP


def test_the_first_cursor_is_what_init_gives(spec: Callable[..., SensorSpec]) -> None:
    assert first_cursor(spec(), Outcome(value={"seen": 0})) == '{"state":{"seen":0},"type":"Scripted","v":1}'
    failed: Outcome[Any] = Outcome(error=ValueError("boom"))
    assert first_cursor(spec(), failed) is failed
    nonsense = first_cursor(spec(), Outcome(value=(1,)))
    assert isinstance(nonsense, Outcome)
    assert isinstance(nonsense.value, PollError)
    assert nonsense.value.code == "bad_state"


def test_the_definitions_partition_function_makes_the_partitions(spec: Callable[..., SensorSpec]) -> None:
    request = RunRequest("days", "2025-01-01")
    made = spec(Trigger("a", Arrival("b", key="k"), request, state=1, seen=["s"]), partition=str.upper)
    answer = call_poll(made, None)
    assert answer == Trigger("A", Arrival("B", key="k"), request, state=1, seen=["s"])
    assert call_poll(made, None) == NoTrigger()
    assert call_poll(spec(Trigger("a")), None) == Trigger("a")
