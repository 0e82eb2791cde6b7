"""The spine: something arrives, is polled, committed, run, and its value is there; on every backend and store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors import AskTimeout
from actors.testing import ManualClock, cast_and_sync, crash
from flowstone.runs import execution
from flowstone.runs.records import Materialization
from flowstone.sensors import FileArrival, Poll
from flowstone.state.connection import Connection
from flowstone.testing import (
    ScriptedSensor,
    assert_enqueued,
    assert_materialized,
    refute_enqueued,
)

Make = Callable[..., fs.Runtime]
NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(store_url: str) -> str:
    return store_url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def runtime(backend: str, store: str, clock: ManualClock, request: pytest.FixtureRequest) -> Make:
    def make(*pipelines: fs.Pipeline, **options: Any) -> fs.Runtime:
        place = {"store": store, **({"io_manager": "memory"} if store.startswith("postgresql") else {})}
        started = fs.Runtime(*pipelines, **{**place, "backend": backend, "clock": clock, **options}).start()
        request.addfinalizer(lambda: started.stop(timeout=5))
        return started

    return make


def test_a_file_that_arrives_becomes_one_run_and_a_value(runtime: Make, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shop = fs.Pipeline("shop")

    @shop.asset(partitions=fs.Daily(start="2025-01-01"))
    def orders(context: fs.Context) -> str:
        return (folder / f"{context.partition}.txt").read_text()

    @shop.asset
    def count(context: fs.Context, orders: str) -> int:
        return len(orders)

    shop.sensor("files", FileArrival(path=folder, pattern="*.txt"), target="+count")
    started = runtime(shop)
    (folder / "part").write_text("three")
    (folder / "part").rename(folder / "2025-01-15.txt")
    evaluation = started.sensors.poll("files")
    assert (evaluation.status, len(evaluation.run_ids)) == ("triggered", 1)
    started.drain(timeout=20)
    assert started.get("count", partition="2025-01-15") == 5
    assert_materialized(started, "orders", partition=date(2025, 1, 15))
    assert started.sensors.poll("files").status == "no_trigger"
    assert len(started.runs.list()) == 1


def test_a_schedule_fires_on_the_clock(runtime: Make, clock: ManualClock) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: str(context.partition), name="report")
    shop.schedule("nightly", cron="0 2 * * *", target="report", partition=fs.previous_day)
    started = runtime(shop)
    clock.advance("2d")
    assert [run.partition for run in started.runs.list()] == [date(2025, 1, 16), date(2025, 1, 15)]
    assert {run.status for run in started.runs.list()} == {"success"}
    assert started.get("report", partition=date(2025, 1, 16)) == "2025-01-16"


def test_the_same_tick_twice_is_one_run(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="report")
    shop.schedule("nightly", cron="0 2 * * *", target="report")
    started = runtime(shop, scheduler=False)
    at = datetime(2025, 1, 15, 2, tzinfo=UTC)
    first, second = (started.schedules.trigger("nightly", at=at) for _ in range(2))
    assert (first.tick_id, first.run_id) == (second.tick_id, second.run_id)
    assert len(started.runs.list()) == 1


def test_materialize_waits_and_gives_the_record(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.partition * 2, name="double")
    record = runtime(shop).materialize("double", partition=21)
    assert (record.status, record.value, record.attempt) == ("success", 42, 1)


def test_what_a_step_has_just_made_is_what_follows_is_made_from(runtime: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = fs.Pipeline("chain")
    pipeline.asset(lambda context: 1, name="first")
    pipeline.asset(lambda context, first: first + 1, name="second", depends_on=["first"])
    pipeline.asset(lambda context, second: second + 1, name="third", depends_on=["second"])
    made = runtime(pipeline)
    asked: list[str] = []
    newest = execution.latest

    def latest(connection: Connection, asset: str, partition: str) -> Materialization | None:
        asked.append(asset)
        return newest(connection, asset, partition)

    monkeypatch.setattr(execution, "latest", latest)
    assert made.materialize_all("third")["third"].value == 3
    assert asked == []
    assert made.materialize("third").value == 3
    assert asked == ["second"]
    assert {edge.asset for edge in made.lineage.upstream("third")} == {"first", "second"}


def test_a_users_error_comes_back_in_the_cause_chain(runtime: Make) -> None:
    shop = fs.Pipeline("shop")

    @shop.asset
    def broken(context: fs.Context) -> None:
        raise ValueError("no such day")

    started = runtime(shop)
    with pytest.raises(fs.ExecutionError, match="ValueError: no such day") as raised:
        started.materialize("broken")
    assert isinstance(raised.value.__cause__, ValueError)
    assert (started.runs.list()[0].error or "").startswith("execution_error: ")


def test_materialize_all_raises_when_the_rest_has_ended(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1 / 0, name="broken")
    shop.asset(lambda context: 2, name="fine")
    shop.asset(lambda context, broken, fine: None, name="both")
    with pytest.raises(fs.ExecutionError) as raised:
        runtime(shop).materialize_all("both")
    records = raised.value.context["records"]
    assert {name: record.status for name, record in records.items()} == {
        "broken": "failed",
        "fine": "success",
        "both": "skipped",
    }


def test_a_missing_dependency_is_raised_at_once_to_one_who_waits(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.asset(lambda context, raw: raw, name="report")
    with pytest.raises(fs.DependencyNotReady, match="raw"):
        runtime(shop).materialize("report")


def test_a_run_that_nobody_waits_for_snoozes_until_its_dependency_is_there(runtime: Make, clock: ManualClock) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.asset(lambda context, raw: raw + 1, name="report")
    started = runtime(shop)
    handle = started.materialize_async("report")
    started.drain(timeout=20)
    assert handle.status == "queued"
    started.materialize("raw")
    clock.advance("30s")
    assert handle.result(timeout=20).value == 2
    assert handle.result().attempt == 1


def test_an_attempt_that_fails_retryably_is_made_again_after_its_delay(runtime: Make, clock: ManualClock) -> None:
    shop = fs.Pipeline("shop")
    seen: list[int] = []

    @shop.asset(retry=fs.RetryPolicy(max_attempts=3, base=10))
    def flaky(context: fs.Context) -> int:
        seen.append(context.attempt)
        if context.attempt < 3:
            raise KeyError("not yet")
        return context.attempt

    handle = runtime(shop).materialize_async("flaky")
    clock.advance("10m")
    assert handle.result(timeout=20).value == 3
    assert seen == [1, 2, 3]


def test_a_timeout_is_never_waited_for(runtime: Make, clock: ManualClock) -> None:
    shop, release = fs.Pipeline("shop"), threading.Event()

    @shop.asset(timeout="10s", retry=fs.RetryPolicy(max_attempts=1))
    def hung(context: fs.Context) -> None:
        release.wait()

    started = runtime(shop)
    handle = started.materialize_async("hung")
    clock.advance("11s")
    with pytest.raises(fs.TimeoutExceeded):
        handle.result(timeout=20)
    assert "hung" in str(started.health())
    release.set()


def test_an_attempt_that_was_given_up_stores_nothing_when_it_comes_back(backend: str, tmp_path: Path) -> None:
    shop, release, clock = fs.Pipeline("shop"), threading.Event(), ManualClock(NOW)

    @shop.asset(timeout="10s", retry=fs.RetryPolicy(max_attempts=1))
    def hung(context: fs.Context) -> str:
        release.wait()
        return "late"

    with fs.Runtime(shop, store=f"sqlite:///{tmp_path}/shop.db", backend=backend, clock=clock) as started:
        handle = started.materialize_async("hung")
        clock.advance("11s")
        release.set()
        following = started.materialize_async("hung")
        # The second run waits until the call of the first has ended, so that its end is the end of that call too.
        assert following.result(timeout=20).value == "late"
        with pytest.raises(fs.TimeoutExceeded):
            handle.result(timeout=20)
    assert len([path for path in (tmp_path / "shop.db.values").rglob("*.pickle")]) == 1


def test_a_materializer_that_crashes_is_an_interruption_and_the_run_goes_on(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    begun, release = threading.Semaphore(0), threading.Event()

    @shop.asset
    def slow(context: fs.Context) -> int:
        begun.release()
        release.wait()
        return 1

    started = runtime(shop)
    handle = started.materialize_async("slow")
    assert begun.acquire(timeout=20)
    crash(started.actor("services", "runs", "materializers", handle.run_id))
    release.set()
    assert handle.result(timeout=20).value == 1
    assert handle.result().interruptions == 1
    assert [row.event_type for row in started.audit.list(event_type="run.interrupted")] == ["run.interrupted"]


def test_polls_by_message_do_what_poll_does(runtime: Make) -> None:
    shop, sensor = fs.Pipeline("shop"), ScriptedSensor()
    shop.asset(lambda context: None, name="target")
    shop.sensor("scripted", sensor, target="target")
    started = runtime(shop)
    ref = started.sensors.ref("scripted")
    sensor.set_next(fs.Trigger("a", state=1), fs.Trigger("b", state=2), fs.Trigger("c", state=3))
    assert ref.ask(Poll(), timeout=20).status == "triggered"
    cast_and_sync(ref, Poll())
    ref.tell(Poll())
    started.drain(timeout=20)
    assert_enqueued(started, "target", partition="c")
    refute_enqueued(started, "target", partition="d")
    assert sensor.polls == 3


def test_a_sensor_that_crashes_is_restarted_and_its_ref_is_good(runtime: Make) -> None:
    shop, sensor = fs.Pipeline("shop"), ScriptedSensor()
    shop.asset(lambda context: None, name="target")
    shop.sensor("scripted", sensor, target="target")
    started = runtime(shop)
    ref = started.sensors.ref("scripted")
    crash(ref)
    assert ref.ask(Poll(), timeout=20).status == "no_trigger"


def test_stopping_puts_what_does_not_finish_back(backend: str, tmp_path: Path) -> None:
    shop, release, begun = fs.Pipeline("shop"), threading.Event(), threading.Event()
    url = f"sqlite:///{tmp_path}/stop.db"

    @shop.asset
    def slow(context: fs.Context) -> int:
        begun.set()
        release.wait()
        return 1

    started = fs.Runtime(shop, store=url, backend=backend).start()
    run_id = started.materialize_async("slow").run_id
    assert begun.wait(20)
    started.stop(timeout=0.01)
    release.set()
    with fs.Runtime(shop, store=url, backend=backend) as again:
        again.drain(timeout=20)
        assert (again.runs.get(run_id).status, again.runs.get(run_id).interruptions) == ("success", 1)


def test_work_asked_of_a_stopped_runtime_is_refused(runtime: Make) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="one")
    started = runtime(shop)
    started.stop()
    started.stop()
    with pytest.raises(fs.RuntimeStopped):
        started.materialize("one")
    assert started.health().status == "down"


def test_a_second_runtime_on_the_same_file_is_refused_and_leaves_nothing(tmp_path: Path, backend: str) -> None:
    shop, url = fs.Pipeline("shop"), f"sqlite:///{tmp_path}/shop.db"
    with fs.Runtime(shop, store=url, backend=backend):
        before = {thread.name for thread in threading.enumerate()}
        with pytest.raises(fs.StoreLocked, match="process"):
            fs.Runtime(shop, store=url, backend=backend).start()
        # A thread that has ended is listed for a moment longer; those of the system are its own matter.
        left = {thread.name for thread in threading.enumerate()} - before
        assert not {name for name in left if not name.startswith("actors")}
    with fs.Runtime(shop, store=url, backend=backend):
        pass


def test_pipelines_of_nothing_are_legal(runtime: Make) -> None:
    assert runtime().health().status == "ok"


def test_a_result_that_takes_too_long_leaves_the_run_be(runtime: Make) -> None:
    shop, release = fs.Pipeline("shop"), threading.Event()

    @shop.asset
    def slow(context: fs.Context) -> int:
        release.wait()
        return 1

    handle = runtime(shop).materialize_async("slow")
    with pytest.raises(fs.TimeoutExceeded, match="goes on"):
        handle.result(timeout=0.01)
    release.set()
    assert handle.result(timeout=20).value == 1
    assert not isinstance(AskTimeout, fs.FlowstoneError)
