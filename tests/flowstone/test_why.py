"""Why: each thing that did not run, or ran otherwise, says so in one sentence."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.runs.records import Conflict, Materialization, Run
from flowstone.schedules.policies import Reason, TickStatus
from flowstone.schedules.rows import Tick
from flowstone.sensors.outbox import Delivery
from flowstone.sensors.rows import Cause, DeliveryStatus, EvaluationRow, EvaluationStatus, SkipReason
from flowstone.testing import ScriptedSensor
from flowstone.why import Why, why_of

AT = datetime(2025, 1, 15, 12, tzinfo=UTC)


def tick(status: TickStatus, reason: Reason | None, **more: Any) -> Tick:
    values: dict[str, Any] = {
        "tick_id": "nightly:1736942400", "schedule": "nightly", "scheduled_for": AT, "until": None, "count": 1,
        "manual": False, "status": status, "reason": reason, "run_id": None, "partition": None, "error": None,
        "blocked_by": None, "at": AT,
    }  # fmt: skip
    return Tick(**{**values, **more})


def evaluation(status: EvaluationStatus, **more: Any) -> EvaluationRow:
    values: dict[str, Any] = {
        "id": 1, "eval_id": "eval_a", "eval_key": "k", "sensor": "orders", "cause": Cause.POLL, "status": status,
        "reason": None, "reason_code": None, "expected_state_version": 1, "state_version_after": 1,
        "cursor_before": None, "cursor_after": None, "request_count": 0, "duplicate_count": 0, "run_ids": (), "at": AT,
    }  # fmt: skip
    return EvaluationRow(**{**values, **more})


def made(status: MaterializationStatus, **more: Any) -> Materialization:
    values: dict[str, Any] = {
        "run_id": "run_a", "asset": "report", "partition": "eu", "status": status, "attempt": 2, "started_at": AT,
        "completed_at": AT, "duration": 1.5, "error": None, "reason": None, "stored": None,
    }  # fmt: skip
    return Materialization(**{**values, **more})


def run(status: RunStatus, **more: Any) -> Run:
    values: dict[str, Any] = {
        "run_id": "run_a", "run_key": "k", "status": status, "asset": "report", "partition": None, "attempt": 1,
        "interruptions": 0, "error": None, "reason": None, "retry_of": None, "priority": 0, "tags": {},
        "requested_at": AT, "started_at": AT, "completed_at": AT + timedelta(seconds=3),
    }  # fmt: skip
    return Run(**{**values, **more})


def delivery(status: DeliveryStatus, **more: Any) -> Delivery:
    values: dict[str, Any] = {
        "id": 7, "sensor": "orders", "evaluation_id": "eval_a", "partition": None, "payload": None, "status": status,
        "attempts": 2, "error": None, "next_at": AT, "created_at": AT, "delivered_at": None,
    }  # fmt: skip
    return Delivery(**{**values, **more})


TICKS = [
    (tick(TickStatus.TRIGGERED, None, run_id="run_a"), "fired, and asked for run run_a."),
    (tick(TickStatus.MISSED, Reason.LATE), "was missed: it was found after its time, and misfire='skip' runs nothing"),
    (tick(TickStatus.MISSED, Reason.SUPERSEDED), "was missed: it was found when a newer one was due"),
    (tick(TickStatus.MISSED, Reason.MAX_COUNT), "was missed: it was found late, behind more newer ones than"),
    (tick(TickStatus.MISSED, Reason.MAX_AGE), "was missed: it was found later than the misfire policy's max_age"),
    (tick(TickStatus.MISSED, Reason.EDITED), "was missed: it was due when the timing of schedule nightly was edited"),
    (tick(TickStatus.SKIPPED, Reason.PAUSED), "was skipped: schedule nightly was paused."),
    (tick(TickStatus.SUPPRESSED, Reason.OVERLAP, blocked_by="run_b"), "was suppressed: run run_b of schedule nightly"),
    (tick(TickStatus.FAILED, Reason.PARTITION, error="ValueError: no"), "failed: there is no partition for it"),
    (tick(TickStatus.FAILED, Reason.CONFLICT, error="run_key_conflict: k"), "failed: its run key stands for another"),
    (
        tick(TickStatus.MISSED, Reason.LATE, count=12, until=AT + timedelta(hours=11)),
        "12 ticks of schedule nightly, from 2025-01-15 12:00:00 UTC to 2025-01-15 23:00:00 UTC, were missed: they were "
        "found after their time",
    ),
]
EVALUATIONS = [
    (
        evaluation(EvaluationStatus.TRIGGERED, request_count=1, run_ids=("run_a",)),
        "triggered 1 partition and asked for 1 run.",
    ),
    (evaluation(EvaluationStatus.TRIGGERED, request_count=2), "triggered 2 partitions and asked for no runs."),
    (
        evaluation(EvaluationStatus.TRIGGERED, request_count=3, run_ids=("run_a",), duplicate_count=2),
        "asked for 1 run; for 2 the run key stands for another run; 2 arrivals had been committed before.",
    ),
    (evaluation(EvaluationStatus.NO_TRIGGER), "triggered nothing: it saw nothing new."),
    (evaluation(EvaluationStatus.NO_TRIGGER, reason="no growth."), "triggered nothing: no growth."),
    (
        evaluation(EvaluationStatus.NO_TRIGGER, duplicate_count=2, reason="all 2 arrivals were committed before"),
        "triggered nothing: all 2 arrivals were committed before.",
    ),
    (evaluation(EvaluationStatus.ERROR, reason="timeout", reason_code="timeout"), "changed nothing: timeout."),
    (evaluation(EvaluationStatus.SKIPPED, reason_code=SkipReason.PAUSED), "was skipped: sensor orders was paused."),
    (evaluation(EvaluationStatus.SKIPPED, reason_code=SkipReason.BACKPRESSURE), "more runs were unfinished than"),
    (evaluation(EvaluationStatus.SKIPPED, reason_code=SkipReason.ABANDONED), "were given up, and still went on."),
    (
        evaluation(EvaluationStatus.SKIPPED_STALE, reason="stale: the poll started from version 1"),
        "somebody changed the sensor while it was polled (stale: the poll started from version 1).",
    ),
]
MADE = [
    (made(MaterializationStatus.PENDING), "report for eu of run run_a waits for its turn, or for what it depends on."),
    (made(MaterializationStatus.PENDING, error="a: b"), "is tried again, since attempt 2 failed: a: b."),
    (made(MaterializationStatus.RUNNING), "is being made: attempt 2 began at 2025-01-15 12:00:00 UTC."),
    (made(MaterializationStatus.WAITING_APPROVAL), "waits for people to decide."),
    (made(MaterializationStatus.SUCCESS), "was made by attempt 2, in 1.5 s."),
    (made(MaterializationStatus.SUCCESS, duration=None), "in 0 s."),
    (made(MaterializationStatus.FAILED, error="execution_error: boom"), "failed in attempt 2: execution_error: boom."),
    (made(MaterializationStatus.SKIPPED, reason="raw has no value"), "was skipped: raw has no value."),
    (
        made(MaterializationStatus.SKIPPED, reason="already materialized"),
        "was skipped: a run that began after this one was asked for has made it.",
    ),
    (made(MaterializationStatus.CANCELLED, reason="cancelled by hand"), "was cancelled: cancelled by hand."),
]
RUNS = [
    (run(RunStatus.QUEUED), "Run run_a of report is queued: it waits for its turn."),
    (
        run(RunStatus.QUEUED, interruptions=2, materializations=(made(MaterializationStatus.PENDING),)),
        "is queued: it was put back 2 times, since what worked on it ended.",
    ),
    (
        run(RunStatus.QUEUED, materializations=(made(MaterializationStatus.PENDING, error="a: b"),)),
        "is queued: report is tried again, since a: b.",
    ),
    (run(RunStatus.RUNNING, completed_at=None), "is in progress since 2025-01-15 12:00:00 UTC."),
    (run(RunStatus.WAITING_APPROVAL), "waits for people to decide, and holds no slot."),
    (run(RunStatus.SUCCESS), "ended well, 3 s after it began."),
    (run(RunStatus.FAILED, error="execution_error:\n  boom.\n"), "failed: execution_error: boom."),
    (run(RunStatus.CANCELLED, started_at=None, reason="overlapped by x"), "was cancelled: overlapped by x."),
]
OTHERS = [
    (
        Conflict(run_key="k", existing_fingerprint="a" * 64, requested_fingerprint="b" * 64, source="sensor:o", at=AT),
        "The request of sensor:o at 2025-01-15 12:00:00 UTC made no run: run key 'k' stands for a run that means "
        "something else (fingerprint bbbbbbbbbbbb… in place of aaaaaaaaaaaa…), and that stays.",
    ),
    (delivery(DeliveryStatus.PENDING), "Delivery 7 of sensor orders is due at 2025-01-15 12:00:00 UTC."),
    (delivery(DeliveryStatus.PENDING, error="boom"), "is tried again at 2025-01-15 12:00:00 UTC, since attempt 2"),
    (delivery(DeliveryStatus.DELIVERED, next_at=None), "was delivered, by attempt 2."),
    (delivery(DeliveryStatus.FAILED, error="boom"), "is parked after 2 attempts: boom."),
]
EVERY = [*TICKS, *EVALUATIONS, *MADE, *RUNS, *OTHERS]


@pytest.mark.parametrize(("item", "says"), EVERY, ids=range(len(EVERY)))
def test_a_row_says_why_in_one_sentence(item: Any, says: str) -> None:
    answer = why_of(item)
    assert says in str(answer)
    assert str(answer).endswith(".") and "\n" not in str(answer) and "None" not in str(answer)
    assert (answer.item, answer.sentence) == (item, str(answer))


def test_every_reason_and_every_status_has_its_sentence() -> None:
    assert {item.reason for item, _ in TICKS} == {None, *Reason}
    assert {item.status for item, _ in TICKS} == set(TickStatus)
    assert {item.status for item, _ in EVALUATIONS} == set(EvaluationStatus)
    skipped = {item.reason_code for item, _ in EVALUATIONS if item.status is EvaluationStatus.SKIPPED}
    assert skipped == set(SkipReason) - {SkipReason.STALE}
    assert {item.status for item, _ in MADE} == set(MaterializationStatus)
    assert {item.status for item, _ in RUNS} == set(RunStatus)


def test_a_long_error_is_cut() -> None:
    assert len(str(why_of(run(RunStatus.FAILED, error="x" * 5000)))) < 400


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_no_row_is_refused(wrong: Any) -> None:
    with pytest.raises(fs.ValidationError, match="expected a tick, an evaluation"):
        why_of(wrong)


# -- asked of a runtime


@pytest.fixture(params=["greenlets", "threads"])
def started(request: pytest.FixtureRequest, flowstone_runtime: Callable[..., fs.Runtime]) -> Callable[..., fs.Runtime]:
    return lambda *pipelines, **options: flowstone_runtime(*pipelines, backend=request.param, **options)


def test_ids_are_answered_like_their_rows(started: Callable[..., fs.Runtime], flowstone_clock: ManualClock) -> None:
    shop, sensor, release = fs.Pipeline("shop"), ScriptedSensor(), threading.Event()
    shop.asset(lambda context: release.wait(), name="report")
    shop.sensor("orders", sensor, target="report")
    shop.schedule("hourly", cron="0 * * * *", target="report")
    runtime = started(shop)
    for partition in (None, "x"):
        sensor.set_next(fs.Trigger(fs.RunRequest("report", partition, "mine")))
        runtime.sensors.poll("orders", timeout=20)
    flowstone_clock.advance("2h")
    release.set()
    runtime.drain(timeout=20)
    ticks = runtime.schedules.history("hourly")
    items = [*ticks, *runtime.sensors.history("orders"), *runtime.runs.list()]
    for item in items:
        identifier = why_of(item).id
        assert runtime.why(identifier).sentence == runtime.why(item).sentence
    assert [runtime.why(each).status for each in ticks] == ["suppressed", "triggered"]
    assert f"run {ticks[1].run_id} of schedule hourly was unfinished" in str(runtime.why(ticks[0].tick_id))
    assert [runtime.why(each).status for each in runtime.runs.conflicts()] == ["conflict"]
    kinds: list[str] = [runtime.why(item).kind for item in items]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["tick", "evaluation", "run"]


@pytest.mark.parametrize("unknown", ["run_nobody", "eval_nobody", "nightly:1", ""])
def test_an_id_of_nothing_is_refused(started: Callable[..., fs.Runtime], unknown: str) -> None:
    with pytest.raises(fs.ValidationError, match="expected a row, the name of an asset, of a sched"):
        started().why(unknown)


def test_a_misspelt_asset_gets_its_name(started: Callable[..., fs.Runtime]) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="report")
    with pytest.raises(fs.ValidationError, match=r"got: 'reprot'; did you mean 'report'\?"):
        started(shop).why("reprot")


def test_an_asset_that_is_made_says_so_whatever_was_asked_for_since(started: Callable[..., fs.Runtime]) -> None:
    shop, begun, release = fs.Pipeline("shop"), threading.Event(), threading.Event()

    @shop.asset
    def report(context: fs.Context) -> None:
        begun.set()
        assert release.wait(20)

    runtime = started(shop)
    first = runtime.materialize_async("report")
    assert begun.wait(20)
    runtime.materialize_async("report").cancel()
    assert f"report of run {first.run_id} is being made" in str(runtime.why("report"))
    assert runtime.statuses() == {"report": "running"}
    release.set()
    first.result(timeout=20)


def test_what_waits_for_a_call_that_outlived_its_attempt_says_so(
    started: Callable[..., fs.Runtime], flowstone_clock: ManualClock
) -> None:
    shop, release = fs.Pipeline("shop"), threading.Event()
    policy = fs.RetryPolicy(max_attempts=2, base=1)
    shop.asset(lambda context: release.wait(20), name="report", timeout=5, retry=policy)
    runtime = started(shop)
    first = runtime.materialize_async("report", partition=(1, "a"))
    second = runtime.materialize_async("report", partition=(1, "a"))
    flowstone_clock.advance(5)
    told = f"run {first.run_id} works on report for i:1|a no more, but its call still goes on"
    assert told in str(runtime.why(second.run_id))
    assert "the call of its earlier attempt at report for i:1|a still goes on" in str(runtime.why(first.run_id))
    release.set()
    first.result(timeout=20)


def test_an_answer_is_a_value() -> None:
    answer = why_of(tick(TickStatus.SKIPPED, Reason.PAUSED))
    assert isinstance(answer, Why)
    assert (answer.kind, answer.id, answer.status, answer.reason) == ("tick", "nightly:1736942400", "skipped", "paused")
