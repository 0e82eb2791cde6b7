"""Committing evaluations: compare-and-set, arrivals, runs, history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity, RunRequest
from flowstone.core.run_key import run_id
from flowstone.errors import SensorNotFound, ValidationError
from flowstone.outcome import Outcome
from flowstone.runs.store import conflicts, list_runs
from flowstone.sensors import Arrival, NoTrigger, PollError, SensorSpec, Trigger
from flowstone.sensors.definitions import define, define_all, withdraw
from flowstone.sensors.evaluation import Evaluation, begin, decide, skip
from flowstone.sensors.rows import EvaluationRow, Fault, SensorRow, SensorStatus, SkipReason
from flowstone.sensors.steering import pause, reset, resume, rewind
from flowstone.sensors.store import (
    Committed,
    commit,
    history,
    initialise,
    list_sensors,
    opening,
    read,
    set_fault,
)
from flowstone.state.connection import Connection
from flowstone.state.database import Database

Do = Callable[..., Any]


class Desk:
    """One sensor in a store, polled by hand."""

    def __init__(self, database: Database, catalog: Catalog, spec: SensorSpec, now: datetime) -> None:
        self.database, self.catalog, self.spec, self.now = database, catalog, spec, now
        self.polls = 0
        self.do(define, spec)

    def do(self, step: Do, *args: Any, **options: Any) -> Any:
        return self.database.transact(lambda c: step(c, *args, actor="ann", now=self.now, **options))

    def row(self) -> SensorRow:
        return self.database.read(lambda c: read(c, self.spec.name))

    def decided(self, answer: Any, *, row: SensorRow | None = None, manual: str | None = None) -> Evaluation:
        self.polls += 1
        start = begin(row or self.row(), self.now, manual=manual)
        outcome = Outcome(value=answer)
        return decide(
            self.spec, start, outcome, now=self.now, regular=30.0, abandoned=0, catalog=self.catalog
        )

    def commit(self, evaluation: Evaluation) -> Committed:
        return self.database.transact(lambda c: commit(c, evaluation, identity=Identity()))

    def poll(self, answer: Any, **options: Any) -> EvaluationRow:
        return self.commit(self.decided(answer, **options)).evaluation

    def history(self, **options: Any) -> Any:
        return self.database.read(lambda c: history(c, self.spec.name, **options))

    def runs(self) -> list[Any]:
        return list(self.database.read(lambda c: list_runs(c)))

    def count(self, table: str) -> int:
        rows = self.database.read(lambda c: c.execute(f"select count(*) as n from {table}"))
        return int(rows[0].n)


@pytest.fixture
def desk(database: Database, catalog: Catalog, spec: Callable[..., SensorSpec], now: datetime) -> Desk:
    return Desk(database, catalog, spec(), now)


def test_a_new_sensor_is_active_at_version_0_with_its_first_poll_an_interval_away(desk: Desk) -> None:
    row = desk.row()
    assert (row.status, row.state_version, row.cursor, row.state) == (SensorStatus.ACTIVE, 0, None, None)
    assert row.next_poll_at == desk.now + timedelta(seconds=30)
    assert (row.poll_interval, row.kind, row.type.rpartition(".")[2]) == (30.0, "poll", "Scripted")


def test_the_first_cursor_is_stored_without_a_version(desk: Desk) -> None:
    row = desk.database.transact(lambda c: initialise(c, desk.row(), '{"v":1,"type":"Scripted","state":5}'))
    assert (row.state, row.state_version) == (5, 0)
    again = desk.database.transact(lambda c: initialise(c, row, '{"v":1,"type":"Scripted","state":6}'))
    assert again.state == 5


def test_the_first_cursor_is_not_stored_over_a_reset(desk: Desk) -> None:
    seen = desk.row()
    desk.do(pause, "orders", reason=None)
    row = desk.database.transact(lambda c: initialise(c, seen, '{"v":1,"type":"Scripted","state":5}'))
    assert row.cursor is None


def test_a_commit_writes_cursor_version_history_and_runs_together(desk: Desk) -> None:
    evaluation = desk.poll(Trigger("a", "b", state={"seen": 2}))
    row = desk.row()
    assert (evaluation.status, evaluation.request_count, evaluation.duplicate_count) == ("triggered", 2, 0)
    assert (evaluation.expected_state_version, evaluation.state_version_after) == (0, 1)
    assert (evaluation.cursor_before, evaluation.cursor_after) == (None, row.cursor)
    assert (row.state, row.state_version, row.last_evaluation_at) == ({"seen": 2}, 1, desk.now)
    assert row.next_poll_at == desk.now + timedelta(seconds=30)
    runs = desk.runs()
    assert sorted(run.run_id for run in runs) == sorted(evaluation.run_ids)
    assert {run.partition for run in runs} == {"a", "b"}
    assert desk.history() == (evaluation,)


def test_a_retry_of_a_commit_finds_its_own_work(desk: Desk) -> None:
    evaluation = desk.decided(Trigger("a", state=1))
    first, second = desk.commit(evaluation), desk.commit(evaluation)
    assert second.evaluation == first.evaluation
    assert (second.row, second.partitions) == (first.row, ("a",))
    assert (len(desk.runs()), len(desk.history()), desk.row().state_version) == (1, 1, 1)


@pytest.mark.parametrize("answer", [PollError("x"), NoTrigger(state=3)])
def test_a_retry_counts_no_failure_or_version_twice(desk: Desk, answer: Any) -> None:
    evaluation = desk.decided(answer)
    assert desk.commit(evaluation).evaluation == desk.commit(evaluation).evaluation
    row = desk.row()
    assert row.consecutive_failures + row.state_version == 1


def test_a_poll_that_started_from_an_older_version_changes_nothing(desk: Desk) -> None:
    late = desk.decided(Trigger("late", state=1))
    desk.poll(Trigger("a", state=2), manual="m")
    stale = desk.commit(late)
    assert stale.evaluation.status == "skipped_stale"
    assert stale.evaluation.reason == "stale: the poll started from state version 0, which is 1 now"
    assert (stale.evaluation.reason_code, stale.evaluation.state_version_after) == ("stale", 0)
    assert (stale.evaluation.cursor_after, stale.partitions) == (None, ())
    assert (stale.row.state, stale.row.state_version) == (2, 1)
    assert [run.partition for run in desk.runs()] == ["a"]


def test_an_error_keeps_cursor_and_version(desk: Desk) -> None:
    desk.poll(NoTrigger(state=1))
    evaluation = desk.poll(PollError("down"))
    row = desk.row()
    assert (evaluation.status, evaluation.reason_code) == ("error", "poll_error")
    assert (row.state, row.state_version, row.consecutive_failures) == (1, 1, 1)
    assert (evaluation.expected_state_version, evaluation.state_version_after) == (1, 1)


def test_an_error_of_a_poll_before_a_reset_counts_for_nothing(desk: Desk) -> None:
    late = desk.decided(PollError("down"))
    desk.do(reset, "orders", None, forget=False)
    assert desk.commit(late).evaluation.status == "skipped_stale"
    assert desk.row().consecutive_failures == 0


def test_failures_break_the_sensor_and_a_success_mends_it(desk: Desk) -> None:
    desk.spec = SensorSpec("orders", desk.spec.sensor, every="30s", target="raw", break_after=2)
    desk.poll(PollError("x"))
    assert desk.row().status == "active"
    desk.poll(PollError("x"))
    row = desk.row()
    assert (row.status, row.reason, row.consecutive_failures) == ("broken", "failures", 2)
    desk.poll(NoTrigger())
    row = desk.row()
    assert (row.status, row.reason, row.consecutive_failures) == ("active", None, 0)


def test_a_skip_is_recorded_and_changes_nothing_else(desk: Desk) -> None:
    before = desk.row()
    evaluation = skip(begin(before, desk.now), SkipReason.BACKPRESSURE, now=desk.now, regular=30.0)
    committed = desk.commit(evaluation)
    assert (committed.evaluation.status, committed.evaluation.reason) == ("skipped", "backpressure")
    after = committed.row
    assert (after.state_version, after.cursor, after.status) == (before.state_version, before.cursor, before.status)
    assert after.last_epoch == evaluation.start.epoch
    assert desk.commit(evaluation).evaluation == committed.evaluation


def test_a_manual_poll_leaves_epoch_and_next_poll(desk: Desk) -> None:
    before = desk.row()
    after = desk.commit(desk.decided(NoTrigger(), manual="m")).row
    assert (after.last_epoch, after.next_poll_at) == (before.last_epoch, before.next_poll_at)


def test_an_arrival_that_was_committed_before_is_dropped_and_counted(desk: Desk) -> None:
    assert desk.poll(Trigger(Arrival("a", key="1"), Arrival("b", key="2"), Arrival("b", key="2"))).request_count == 2
    second = desk.poll(Trigger(Arrival("a", key="1"), Arrival("c", key="3"), "plain", state=1))
    assert (second.status, second.request_count, second.duplicate_count) == ("triggered", 2, 1)
    assert sorted(run.partition for run in desk.runs()) == ["a", "b", "c", "plain"]


def test_nothing_but_duplicates_is_no_trigger(desk: Desk) -> None:
    desk.poll(Trigger(Arrival("a", key="1"), state=1))
    second = desk.poll(Trigger(Arrival("a", key="1"), state=2))
    assert (second.status, second.reason) == ("no_trigger", "all 1 arrivals were committed before")
    assert (second.request_count, second.duplicate_count, second.run_ids) == (0, 1, ())
    assert (desk.row().state, len(desk.runs())) == (2, 1)


def test_keys_that_were_seen_are_known(desk: Desk) -> None:
    desk.poll(NoTrigger(seen=("1", "2")))
    assert desk.poll(Trigger(Arrival("a", key="1"), seen=["2"])).duplicate_count == 1


def test_a_stale_poll_makes_no_arrival_known(desk: Desk) -> None:
    late = desk.decided(Trigger(Arrival("a", key="1")))
    desk.do(pause, "orders", reason=None)
    desk.commit(late)
    desk.do(resume, "orders")
    assert desk.poll(Trigger(Arrival("a", key="1"))).request_count == 1


def test_arrivals_are_forgotten_after_the_lookback_unless_they_were_seen_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(desk.spec.sensor), "lookback", 100.0)
    desk.poll(Trigger(Arrival("a", key="again"), Arrival("b", key="once")))
    for _ in range(3):
        desk.now += timedelta(seconds=60)
        assert desk.poll(Trigger(Arrival("a", key="again"))).duplicate_count == 1
    assert desk.count("arrival") == 1
    assert desk.poll(Trigger(Arrival("b", key="once"))).request_count == 1


def test_a_poll_without_arrivals_forgets_none(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(desk.spec.sensor), "lookback", 100.0)
    desk.poll(Trigger(Arrival("a", key="1")))
    desk.now += timedelta(days=1)
    desk.poll(Trigger("plain"))
    desk.poll(NoTrigger())
    assert desk.poll(Trigger(Arrival("a", key="1"))).duplicate_count == 1


def test_a_conflicting_request_leaves_the_evaluation_triggered(desk: Desk) -> None:
    desk.poll(Trigger(RunRequest("raw", "a", run_key="mine")))
    second = desk.poll(Trigger(RunRequest("raw", "b", run_key="mine"), "c"))
    assert (second.status, second.request_count, len(second.run_ids)) == ("triggered", 2, 1)
    found = desk.database.read(lambda c: conflicts(c))
    assert [(conflict.run_key, conflict.source) for conflict in found] == [("mine", "sensor:orders")]


def test_equal_requests_of_two_polls_are_one_run(desk: Desk) -> None:
    first = desk.poll(Trigger(RunRequest("raw", "a", run_key="mine")))
    assert desk.poll(Trigger(RunRequest("raw", "a", run_key="mine"))).run_ids == first.run_ids


def test_pause_wins_over_broken_and_resume_forgets_failures(desk: Desk) -> None:
    desk.spec = SensorSpec("orders", desk.spec.sensor, every="30s", target="raw", break_after=1)
    desk.poll(PollError("x"))
    paused = desk.do(pause, "orders", reason="holiday")
    assert (paused.status, paused.reason, paused.state_version) == ("paused", "holiday", 1)
    crashed = desk.database.transact(lambda c: set_fault(c, "orders", Fault.CRASHES, present=True))
    assert (crashed.status, crashed.state_version) == ("paused", 1)
    resumed = desk.do(resume, "orders")
    assert (resumed.status, resumed.reason, resumed.consecutive_failures) == ("broken", "crashes", 0)
    assert desk.commit(desk.decided(NoTrigger())).row.reason == "crashes"
    mended = desk.database.transact(lambda c: set_fault(c, "orders", Fault.CRASHES, present=False))
    assert (mended.status, mended.reason) == ("active", None)


def test_reset_sets_the_cursor_and_ends_the_failures(desk: Desk) -> None:
    desk.poll(PollError("x"))
    row = desk.do(reset, "orders", '{"v":1,"type":"Scripted","state":9}', forget=False)
    assert (row.state, row.state_version, row.consecutive_failures) == (9, 1, 0)


def test_a_reset_to_the_beginning_lets_arrivals_arrive_again(desk: Desk) -> None:
    desk.poll(Trigger(Arrival("a", key="1"), state=1))
    desk.do(reset, "orders", None, forget=False)
    assert desk.poll(Trigger(Arrival("a", key="1"))).duplicate_count == 1
    desk.do(reset, "orders", None, forget=True)
    assert desk.poll(Trigger(Arrival("a", key="1"))).request_count == 1


def test_rewind_undoes_the_later_evaluations(desk: Desk) -> None:
    first = desk.poll(Trigger(Arrival("a", key="1"), state=1))
    desk.poll(Trigger(Arrival("b", key="2"), RunRequest("raw", "c", run_key="mine"), state=2))
    row = desk.do(rewind, "orders", first.eval_id)
    assert (row.state, row.state_version) == (1, 3)
    again = desk.poll(Trigger(Arrival("a", key="1"), Arrival("b", key="2"), RunRequest("raw", "c", run_key="mine")))
    assert (again.request_count, again.duplicate_count) == (2, 1)
    assert len(desk.runs()) == 5


def test_rewind_to_an_evaluation_of_nobody_is_refused(desk: Desk) -> None:
    with pytest.raises(ValidationError, match="eval_id of an evaluation of sensor 'orders'"):
        desk.do(rewind, "orders", "eval_x")
    assert desk.row().state_version == 0


def test_steering_leaves_audit_rows(desk: Desk) -> None:
    desk.do(pause, "orders", reason="r")
    desk.do(resume, "orders")
    rows = desk.database.read(lambda c: c.execute("select event_type, actor, resource from audit order by id"))
    assert [tuple(row) for row in rows] == [
        ("sensor.created", "ann", "sensor:orders"),
        ("sensor.paused", "ann", "sensor:orders"),
        ("sensor.resumed", "ann", "sensor:orders"),
    ]


@pytest.mark.parametrize("step", [read, set_fault, pause, resume, reset, rewind])
def test_an_unknown_sensor_is_refused_with_a_suggestion(desk: Desk, step: Any) -> None:
    options: dict[Any, Any] = {
        set_fault: {"fault": Fault.CRASHES, "present": True},
        pause: {"reason": None, "actor": "ann", "now": desk.now},
        resume: {"actor": "ann", "now": desk.now},
        reset: {"cursor": None, "forget": False, "actor": "ann", "now": desk.now},
        rewind: {"to": "x", "actor": "ann", "now": desk.now},
    }
    with pytest.raises(SensorNotFound, match="did you mean 'orders'"):
        desk.database.transact(lambda c: step(c, "oders", **options.get(step, {})))


def test_history_is_newest_first_in_pages_and_filtered(desk: Desk) -> None:
    for number in range(5):
        desk.now += timedelta(minutes=1)
        desk.poll(NoTrigger(state=number) if number % 2 else PollError("x"))
    page = desk.history(limit=2)
    assert [row.cursor_after["state"] if row.cursor_after else None for row in page] == [3, 3]
    following = desk.history(limit=3, cursor=page.next_cursor)
    assert (len(following), following.next_cursor) == (3, None)
    assert [row.status for row in desk.history(status="error")] == ["error"] * 3
    assert len(desk.history(since=desk.now - timedelta(minutes=1))) == 2


def test_the_queue_is_full_with_more_unfinished_runs_than_it_holds(desk: Desk) -> None:
    desk.poll(Trigger("a", "b"))
    assert not desk.database.read(lambda c: opening(c, "orders", max_queue=2)).backlog
    assert desk.database.read(lambda c: opening(c, "orders", max_queue=1)).backlog


def test_a_changed_definition_keeps_the_cursor_and_raises_its_version(
    desk: Desk, spec: Callable[..., SensorSpec]
) -> None:
    desk.poll(NoTrigger(state=1))
    assert desk.do(define, spec()).definition_version == 1
    changed = desk.do(define, spec(every="1m"))
    assert (changed.definition_version, changed.interval, changed.state) == (2, 60.0, 1)


def test_faults_of_a_process_end_with_it(desk: Desk, spec: Callable[..., SensorSpec]) -> None:
    desk.spec = SensorSpec("orders", desk.spec.sensor, every="30s", target="raw", break_after=1)
    desk.poll(PollError("x"))
    for fault in (Fault.CRASHES, Fault.ABANDONED):
        desk.database.transact(lambda c, fault=fault: set_fault(c, "orders", fault, present=True))
    row = desk.do(define, spec())
    assert (row.status, row.reason, row.faults) == ("broken", "failures", {Fault.FAILURES})
    desk.do(pause, "orders", reason="r")
    assert desk.do(define, spec()).reason == "r"


def test_a_sensor_that_left_the_code_is_orphaned_and_goes_on_when_it_returns(
    desk: Desk, spec: Callable[..., SensorSpec]
) -> None:
    desk.poll(NoTrigger(state=1))
    desk.do(define_all, [spec(name="other")])
    assert [(row.name, row.status) for row in desk.database.read(list_sensors)] == [
        ("orders", "orphaned"),
        ("other", "active"),
    ]
    desk.do(define_all, [spec(), spec(name="other")])
    assert (desk.row().status, desk.row().state) == ("active", 1)


def test_a_sensor_that_was_removed_is_gone_until_it_is_added_again(
    desk: Desk, spec: Callable[..., SensorSpec]
) -> None:
    desk.poll(NoTrigger(state=1))
    desk.do(withdraw, "orders")
    assert desk.database.read(list_sensors) == ()
    with pytest.raises(SensorNotFound):
        desk.row()
    desk.do(define_all, [])
    assert desk.do(define, spec()).state == 1


def test_no_two_settled_evaluations_share_a_key(desk: Desk) -> None:
    desk.poll(NoTrigger())

    def again(connection: Connection) -> None:
        columns = "eval_key, sensor, trigger, status, request_count, duplicate_count, run_ids, at"
        connection.execute(f"insert into evaluation (eval_id, {columns}) select 'x', {columns} from evaluation")

    with pytest.raises(Exception, match=r"(?i)unique"):
        desk.database.transact(again)


def test_a_sensors_dedupe_scope_is_stored_and_kept_to(
    database: Database, catalog: Catalog, spec: Callable[..., SensorSpec], now: datetime
) -> None:
    desk = Desk(database, catalog, spec(dedupe="until_success"), now)
    assert str(desk.row().dedupe) == "until_success"
    wanted = Trigger(RunRequest("raw", run_key="order-17"))
    first = desk.commit(desk.decided(wanted, manual="a")).evaluation.run_ids
    assert desk.commit(desk.decided(wanted, manual="b")).evaluation.run_ids == first
    database.transact(lambda connection: connection.execute("update run set status = 'failed'"))
    assert desk.commit(desk.decided(wanted, manual="c")).evaluation.run_ids == (run_id("order-17#1"),)
