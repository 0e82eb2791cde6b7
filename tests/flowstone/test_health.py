"""Health is computed from progress: what should have moved and has not is not ok, whoever lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import flowstone as fs
import pytest
from actors import RealClock
from actors.testing import ManualClock, crash
from flowstone.health import AHEAD, LATE, Health, HealthStatus, Part, health_of, schedule_part, sensor_part
from flowstone.runs.dispatcher import Dispatcher
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.schedule import Schedule
from flowstone.schedules.scheduler import Scheduler
from flowstone.sensors.book import SensorBook
from flowstone.sensors.deliveries import Deliveries
from flowstone.sensors.outbox import Waiting
from flowstone.sensors.rows import SensorRow, SensorStatus
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.worker import Worker
from flowstone.testing import ScriptedSensor

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def schedule(**options: Any) -> ScheduleRow:
    return ScheduleRow.new(Schedule("report", **{"every": "1m", **options}), NOW)


def sensor(**changed: Any) -> SensorRow:
    values: dict[str, Any] = {
        "name": "orders", "kind": "poll", "type": "x", "config": {}, "definition_version": 1, "interval": 10.0,
        "status": SensorStatus.ACTIVE, "reason": None, "faults": frozenset(), "cursor_text": None, "state_version": 0,
        "consecutive_failures": 0, "last_epoch": None, "last_evaluation_at": None, "next_poll_at": NOW,
        "paused": False, "orphaned": False, "removed": False, "created_at": NOW, "updated_at": NOW - 60 * SECOND,
    }  # fmt: skip
    return SensorRow(**{**values, **changed})


SPEC = SensorSpec("orders", ScriptedSensor(), every="10s", timeout="5s", target="report")
PATIENCE = timedelta(seconds=LATE + 5)


# -- parts, from rows alone


def test_a_schedule_is_overdue_when_its_account_is_behind_its_timing() -> None:
    due = NOW + 60 * SECOND
    assert schedule_part(schedule(), due + LATE * SECOND) == Part("schedule", "report", HealthStatus.OK)
    late = schedule_part(schedule(), due + (LATE + 1) * SECOND)
    assert str(late) == "schedule report is degraded: it is overdue by 31 s"


def test_a_paused_schedule_has_to_keep_its_account_too() -> None:
    assert schedule_part(schedule(enabled=False), NOW).reason == "paused"
    assert "overdue" in str(schedule_part(schedule(enabled=False), NOW + timedelta(hours=1)))


def test_an_account_ahead_of_the_clock_says_how_it_is_brought_back() -> None:
    assert schedule_part(schedule(), NOW - AHEAD * SECOND).status is HealthStatus.OK
    ahead = schedule_part(schedule(), NOW - timedelta(hours=1))
    assert (ahead.status, ahead.reason) == ("degraded", "its account is 3600 s ahead of the clock: resume it")


def test_a_schedule_whose_zone_is_gone_has_no_next_instant() -> None:
    values = {name: getattr(schedule(cron="@daily", every=None), name) for name in ScheduleRow.__slots__}
    assert "no next instant" in str(schedule_part(ScheduleRow(**{**values, "timezone": "Mars/Phobos"}), NOW))


def test_what_left_the_code_is_not_expected_to_move() -> None:
    values = {name: getattr(schedule(), name) for name in ScheduleRow.__slots__}
    late = NOW + timedelta(days=1)
    assert schedule_part(ScheduleRow(**{**values, "orphaned": True}), late).status is HealthStatus.OK
    assert sensor_part(sensor(orphaned=True), SPEC, late).status is HealthStatus.OK


def test_a_sensor_is_overdue_when_its_poll_and_its_timeout_have_passed() -> None:
    assert sensor_part(sensor(), SPEC, NOW + PATIENCE) == Part("sensor", "orders", HealthStatus.OK)
    late = sensor_part(sensor(), SPEC, NOW + PATIENCE + SECOND)
    assert str(late) == "sensor orders is degraded: its poll is overdue by 36 s"


def test_a_change_of_a_sensor_begins_its_interval_anew() -> None:
    resumed = sensor(next_poll_at=NOW - timedelta(hours=1), updated_at=NOW)
    assert sensor_part(resumed, SPEC, NOW + 10 * SECOND + PATIENCE).status is HealthStatus.OK
    assert "overdue" in str(sensor_part(resumed, SPEC, NOW + 11 * SECOND + PATIENCE))


@pytest.mark.parametrize(
    ("row", "spec", "reason"),
    [
        (sensor(status=SensorStatus.PAUSED, paused=True), SPEC, "paused"),
        (sensor(next_poll_at=None), SensorSpec("orders", ScriptedSensor(), target="report"), None),
        (sensor(), None, None),
        (sensor(next_poll_at=NOW + timedelta(days=2), consecutive_failures=3), SPEC, "3 failures in a row"),
    ],
    ids=["paused", "by hand", "polled elsewhere", "backing off"],
)
def test_a_sensor_that_is_not_to_be_polled_now_is_ok(
    row: SensorRow, spec: SensorSpec | None, reason: str | None
) -> None:
    assert sensor_part(row, spec, NOW + timedelta(days=1)) == Part("sensor", "orders", HealthStatus.OK, reason)


def test_a_broken_sensor_says_why_and_not_that_it_is_overdue() -> None:
    part = sensor_part(sensor(status=SensorStatus.BROKEN, reason="failures"), SPEC, NOW + timedelta(days=1))
    assert str(part) == "sensor orders is degraded: broken: failures"


def test_deliveries_that_nobody_takes_up_are_the_sensors() -> None:
    owed, later = Waiting(3, NOW, None), NOW + PATIENCE + SECOND
    busy = sensor(next_poll_at=None)
    assert sensor_part(busy, SPEC, NOW + PATIENCE, owed=owed).status is HealthStatus.OK
    assert str(sensor_part(busy, SPEC, later, owed=owed)).endswith("3 deliveries wait, the oldest since 36 s")
    assert sensor_part(busy, SPEC, later, owed=Waiting(3, NOW, NOW + SECOND)).status is HealthStatus.OK


def test_the_worst_part_is_the_status_of_the_whole_and_the_text_names_what_is_not_ok() -> None:
    fine = Part("sensor", "fine", HealthStatus.OK, "3 failures in a row")
    ill = Part("sensor", "ill", HealthStatus.DEGRADED, "broken: failures")
    dead = Part("store", "x", HealthStatus.DOWN, "gone")
    assert [Health.of(parts).status for parts in ([], [fine], [fine, ill], [dead, ill])] == [
        "ok",
        "ok",
        "degraded",
        "down",
    ]
    health = Health.of([fine, ill])
    assert (health.problems, str(health)) == ((ill,), "degraded\nsensor ill is degraded: broken: failures")
    assert str(fine) == "sensor fine is ok: 3 failures in a row"


# -- of a runtime


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Start = Callable[..., fs.Runtime]


@pytest.fixture
def start(backend: str, flowstone_runtime: Start) -> Start:
    return lambda *pipelines, **options: flowstone_runtime(*pipelines, backend=backend, **options)


class Shop:
    """A pipeline with one of each."""

    def __init__(self, **options: Any) -> None:
        self.pipeline, self.sensor = fs.Pipeline("shop"), ScriptedSensor()
        self.release, self.events = threading.Event(), list[Any]()
        self.pipeline.asset(lambda context: 1, name="report")
        self.pipeline.asset(lambda context: self.release.wait(), name="slow", timeout="10s")
        self.pipeline.sensor("orders", self.sensor, every="10s", timeout="5s", target="report", **options)
        self.pipeline.sensor("calls", ScriptedSensor(), on_trigger=self.events.append)
        self.pipeline.schedule("minutes", every="1m", target="report")


def part(runtime: fs.Runtime, kind: str, name: str) -> Part:
    [found] = [part for part in runtime.health().parts if (part.kind, part.name) == (kind, name)]
    return found


def test_every_part_of_a_runtime_has_its_row(start: Start) -> None:
    health = start(Shop().pipeline).health()
    assert {(each.kind, each.name) for each in health.parts if each.kind != "store"} == {
        ("actor", "backfills"),
        ("actor", "deadlines"),
        ("actor", "deliveries"),
        ("actor", "dispatcher"),
        ("actor", "materializers"),
        ("actor", "router"),
        ("actor", "scheduler"),
        ("actor", "sensors"),
        ("actor", "tasks"),
        ("executor", "assets"),
        ("executor", "polls"),
        ("queue", "runs"),
        ("schedule", "minutes"),
        ("sensor", "calls"),
        ("sensor", "orders"),
    }
    assert [each.kind for each in health.parts].count("store") == 1
    assert (health.status, str(health), health.problems) == ("ok", "ok", ())


def test_days_of_work_leave_nothing_overdue(start: Start, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop().pipeline)
    flowstone_clock.advance("1h")
    assert str(runtime.health()) == "ok"


def test_a_scheduler_that_lives_and_does_nothing_shows(
    start: Start, flowstone_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start(Shop().pipeline)
    monkeypatch.setattr(Scheduler, "_look", lambda self: None)
    flowstone_clock.advance("5m")
    assert part(runtime, "actor", "scheduler").status is HealthStatus.OK
    assert part(runtime, "schedule", "minutes").reason == "it is overdue by 240 s"
    assert runtime.health().status is HealthStatus.DEGRADED


def test_a_sensors_actor_that_lives_and_does_nothing_shows(
    start: Start, flowstone_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start(Shop().pipeline)
    monkeypatch.setattr(Worker, "receive", lambda self, message: None)
    flowstone_clock.advance("5m")
    assert part(runtime, "sensor", "orders").reason == "its poll is overdue by 290 s"


def test_a_dispatcher_that_lives_and_does_nothing_shows(
    start: Start, flowstone_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start(Shop().pipeline)
    monkeypatch.setattr(Dispatcher, "_claim", lambda self: None)
    runtime.materialize_async("report")
    flowstone_clock.advance("20s")
    assert part(runtime, "queue", "runs") == Part("queue", "runs", HealthStatus.OK, "1 due, 0 in progress")
    flowstone_clock.advance("11s")
    assert "one that may begin waits since 31 s" in str(part(runtime, "queue", "runs"))


def test_a_run_that_waits_for_another_one_is_not_passed_over(start: Start, flowstone_clock: ManualClock) -> None:
    shop = Shop()
    shop.pipeline.asset(lambda context: shop.release.wait(), name="patient")
    runtime = start(shop.pipeline)
    for _ in range(2):
        runtime.materialize_async("patient")
    flowstone_clock.advance("10m")
    assert part(runtime, "queue", "runs").reason == "1 due, 1 in progress"
    assert part(runtime, "queue", "runs").status is HealthStatus.OK
    shop.release.set()


def test_full_slots_are_no_fault_of_the_dispatcher(start: Start, flowstone_clock: ManualClock) -> None:
    shop = Shop()
    shop.pipeline.asset(lambda context: shop.release.wait(), name="patient")
    runtime = start(shop.pipeline, max_concurrency=1, scheduler=False, sensors=False)
    runtime.materialize_async("patient")
    runtime.materialize_async("report")
    flowstone_clock.advance("10m")
    assert part(runtime, "queue", "runs").status is HealthStatus.OK
    shop.release.set()


def test_deliveries_whose_actor_does_nothing_show(
    start: Start, flowstone_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    pushed = ScriptedSensor()
    shop.pipeline.sensor("told", pushed, on_trigger=shop.events.append, timeout="5s")
    runtime = start(shop.pipeline)
    monkeypatch.setattr(Deliveries, "receive", lambda self, message: None)
    pushed.set_next(fs.Trigger("a", "b"))
    runtime.sensors.poll("told", timeout=20)
    flowstone_clock.advance("36s")
    assert part(runtime, "sensor", "told").reason == "2 deliveries wait, the oldest since 36 s"


def test_a_poll_that_was_given_up_is_named(start: Start, flowstone_clock: ManualClock) -> None:
    shop, release = Shop(), threading.Event()
    shop.sensor.set_next(release)
    runtime = start(shop.pipeline)
    flowstone_clock.advance("20s")
    assert part(runtime, "sensor", "orders").reason == "a call that was given up still goes on, since 10 s"
    assert "executor polls is degraded" in str(runtime.health())
    assert "sensor orders" in str(runtime.health())
    assert part(runtime, "sensor", "calls").status is HealthStatus.OK
    release.set()


def test_more_calls_that_were_given_up_are_counted_and_some_are_named(
    start: Start, flowstone_clock: ManualClock
) -> None:
    shop = Shop()
    runtime = start(shop.pipeline)
    for partition in range(7):
        runtime.materialize_async("slow", partition=partition)
    flowstone_clock.advance("11s")
    text = str(part(runtime, "executor", "assets"))
    assert "7 calls that were given up still go on, the oldest since 11 s: slow[" in text
    assert text.endswith(", …") and text.count("slow[") == 5
    shop.release.set()


def test_a_broken_sensor_is_named_with_its_reason(start: Start) -> None:
    shop = Shop(break_after=1)
    shop.sensor.set_next(ValueError("boom"))
    runtime = start(shop.pipeline)
    runtime.sensors.poll("orders", timeout=20)
    assert str(runtime.health()) == "degraded\nsensor orders is degraded: broken: failures"


def test_a_resumed_sensor_is_not_overdue_for_the_time_that_it_rested(
    start: Start, flowstone_clock: ManualClock
) -> None:
    runtime = start(Shop().pipeline)
    runtime.sensors.pause("orders")
    flowstone_clock.advance("1h")
    assert part(runtime, "sensor", "orders").reason == "paused"
    runtime.sensors.resume("orders")
    assert str(runtime.health()) == "ok"
    flowstone_clock.advance("1m")
    assert str(runtime.health()) == "ok"


def test_what_was_left_out_is_not_expected_to_move(start: Start, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop().pipeline, scheduler=False, sensors=False)
    flowstone_clock.advance("1h")
    assert str(runtime.health()) == "ok"
    assert part(runtime, "schedule", "minutes").reason == "no scheduler runs here"


def test_an_actor_that_has_ended_and_is_not_back_shows(
    start: Start, flowstone_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = start(Shop().pipeline)
    gone = type("Gone", (), {"is_alive": lambda self: False})()
    directory = runtime._services.directory
    monkeypatch.setitem(directory, "scheduler", gone)
    assert str(part(runtime, "actor", "scheduler")) == "actor scheduler is degraded: it has ended, and is not back yet"
    monkeypatch.undo()
    crash(runtime.actor("services", "scheduler"))
    runtime.drain(timeout=20)
    assert part(runtime, "actor", "scheduler").status is HealthStatus.OK


def test_a_store_whose_writer_is_silent_shows(
    backend: str, flowstone_runtime: Start, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = flowstone_runtime(Shop().pipeline, backend=backend, store=f"sqlite:///{tmp_path}/shop.db", clock=None)
    runtime.drain(timeout=20)
    assert runtime.health().status is HealthStatus.OK
    later = RealClock().now() + timedelta(minutes=1)
    monkeypatch.setattr(RealClock, "now", lambda self: later)
    runtime_part = next(each for each in runtime.health().parts if each.kind == "store")
    assert runtime_part.status is HealthStatus.DEGRADED
    assert "nothing was written since the heartbeat" in str(runtime_part)


def test_a_runtime_that_does_not_run_is_down(start: Start) -> None:
    runtime = start(Shop().pipeline)
    runtime.stop()
    assert str(runtime.health()) == "down\nruntime root is down: it is not running"


class Ill:
    """A store that can't be read, or whose last transaction could not be committed."""

    url = "sqlite:///ill.db"

    def __init__(self, database: Any, *, readable: bool) -> None:
        self.database, self.readable = database, readable
        self.fault = fs.StoreUnavailable("the disk is full")

    def read(self, query: Any) -> Any:
        if not self.readable:
            raise fs.StoreUnavailable("the file is gone")
        return self.database.read(query)


@pytest.mark.parametrize(("readable", "reason"), [(True, "the disk is full"), (False, "the file is gone")])
def test_a_store_that_fails_is_down_and_the_rest_is_told_as_far_as_it_is_known(
    start: Start, readable: bool, reason: str
) -> None:
    services = start(Shop().pipeline)._services
    health = health_of(replace(services, database=Ill(services.database, readable=readable)), SensorBook(), None)
    assert str(health) == f"down\nstore sqlite:///ill.db is down: {reason}"
    assert ("actor", "scheduler") in {(each.kind, each.name) for each in health.parts}
    assert ("schedule", "minutes") in {(each.kind, each.name) for each in health.parts} or not readable


def test_a_tree_that_gave_up_is_down_with_its_reason(start: Start) -> None:
    health = health_of(start(Shop().pipeline)._services, SensorBook(), ValueError("no"))
    assert str(health) == "down\nruntime root is down: its tree of actors gave up: ValueError('no')"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_a_runtime_is_well_from_its_first_moment_on(make_store_url: Callable[[str], str], kind: str) -> None:
    with fs.Runtime(Shop().pipeline, store=make_store_url(kind), io_manager="memory") as runtime:
        assert str(runtime.health()) == "ok"
