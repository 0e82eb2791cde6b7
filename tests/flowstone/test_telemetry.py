"""Telemetry: which events there are, what they measure, and what becomes of handlers that misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors import System
from actors.testing import ManualClock, crash
from flowstone import telemetry as telemetry_module
from flowstone.executors.threads import ThreadExecutor
from flowstone.sensors import Push
from flowstone.telemetry import QUEUE, Handle, Telemetry
from flowstone.testing import ScriptedSensor

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
Seen = list[tuple[str, dict[str, Any], dict[str, Any]]]


class Stage:
    """A telemetry whose handlers run on an executor of its own."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.system = System(backend="threads", clock=clock)
        self.executor = ThreadExecutor("polls", clock=clock, work=self.system.work, threads=None)
        self.reported: list[tuple[Handle, str]] = []
        self.telemetry = Telemetry()

    def open(self) -> Stage:
        self.telemetry.open(self.executor, self.clock, lambda handle, why: self.reported.append((handle, why)))
        return self

    def settle(self) -> None:
        assert self.system.work.wait_idle(20)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def stage(clock: ManualClock) -> Iterator[Stage]:
    made = Stage(clock)
    yield made
    made.executor.stop(0)
    made.system.stop()


def test_a_handler_gets_the_events_of_its_prefix_in_order(stage: Stage) -> None:
    telemetry, seen = stage.open().telemetry, []
    telemetry.attach("flowstone.run.", lambda event, measured, about: seen.append((event, measured, about)))
    for number in range(500):
        telemetry.emit("flowstone.run.started", {"n": number}, {"run_id": "r"})
        telemetry.emit("flowstone.runner.started", {"n": number}, {})
    stage.settle()
    assert seen == [("flowstone.run.started", {"n": number}, {"run_id": "r"}) for number in range(500)]


def test_each_handler_has_dictionaries_of_its_own(stage: Stage) -> None:
    telemetry, seen = stage.open().telemetry, []

    def spoil(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        seen.append((dict(measured), dict(about)))
        measured.clear()
        about.clear()

    telemetry.attach("", spoil)
    telemetry.attach("", spoil)
    telemetry.emit("flowstone.run.started", {"n": 1}, {"run_id": "r"})
    stage.settle()
    assert seen == [({"n": 1}, {"run_id": "r"})] * 2


def test_handlers_run_on_no_thread_of_those_who_emit(stage: Stage) -> None:
    telemetry, threads = stage.open().telemetry, []
    telemetry.attach("", lambda *told: threads.append(threading.get_ident()))
    telemetry.emit("flowstone.run.started", {}, {})
    stage.settle()
    assert threads and threading.get_ident() not in threads


def test_one_that_raises_is_detached_and_reported_and_the_others_go_on(stage: Stage) -> None:
    telemetry, seen = stage.open().telemetry, []

    def broken(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        raise SystemExit("no")

    handle = telemetry.attach("", broken)
    telemetry.attach("", lambda event, *rest: seen.append(event))
    for _ in range(3):
        telemetry.emit("flowstone.run.started", {}, {})
    stage.settle()
    assert stage.reported == [(handle, "it raised SystemExit('no')")]
    assert "broken" in handle.name
    assert not handle.attached
    assert seen == ["flowstone.run.started"] * 3


def test_one_that_hangs_is_detached_after_its_timeout_and_delays_no_other(stage: Stage) -> None:
    telemetry, seen, release = stage.open().telemetry, [], threading.Event()
    back = threading.Semaphore(0)

    def hang(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        release.wait()
        back.release()

    handle = telemetry.attach("", hang)
    telemetry.attach("", lambda event, *rest: seen.append(event))
    for _ in range(3):
        telemetry.emit("flowstone.run.started", {}, {})
    stage.clock.advance("6s")
    assert seen == ["flowstone.run.started"] * 3
    assert [why for _, why in stage.reported] == ["it took longer than 5 s"]
    release.set()
    assert back.acquire(timeout=20)
    assert (back.acquire(timeout=0), handle.attached) == (False, False)


def test_what_a_slow_handler_has_no_room_for_is_dropped_and_counted(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    handle = stage.telemetry.attach("", lambda event, measured, about: seen.append(measured["n"]))
    for number in range(QUEUE + 3):
        stage.telemetry.emit("flowstone.run.started", {"n": number}, {})
    stage.open()
    stage.settle()
    assert (seen, handle.dropped) == (list(range(QUEUE)), 3)
    assert len([line for line in caplog.messages if "too slow" in line]) == 1


def test_a_detached_handler_hears_nothing_more_and_detaching_again_is_harmless(stage: Stage) -> None:
    seen: list[str] = []
    handle = stage.telemetry.attach("", lambda event, *rest: seen.append(event))
    assert stage.telemetry.active
    stage.telemetry.emit("flowstone.run.started", {}, {})
    for _ in range(2):
        stage.telemetry.detach(handle)
    stage.open()
    stage.telemetry.emit("flowstone.run.started", {}, {})
    stage.settle()
    assert (seen, stage.telemetry.active) == ([], False)


def test_a_long_turn_is_followed_by_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry_module, "TURN", -1.0)
    seen: list[int] = []
    stage.telemetry.attach("", lambda event, measured, about: seen.append(measured["n"]))
    stage.telemetry.emit("flowstone.run.started", {"n": 1}, {})
    turns: list[str] = []
    submit = stage.executor.submit

    def counted(fn: Any, *args: Any, **options: Any) -> Any:
        turns.append(options["name"])
        if len(turns) == 3:
            monkeypatch.setattr(telemetry_module, "TURN", 1.0)
        return submit(fn, *args, **options)

    stage.executor.submit = counted  # type: ignore[method-assign]
    stage.open()
    stage.settle()
    assert (seen, len(turns)) == ([1], 3)


def test_closing_waits_for_what_is_queued(stage: Stage) -> None:
    seen: list[int] = []
    gate = threading.Event()

    def slow(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        gate.wait()
        seen.append(measured["n"])

    stage.open().telemetry.attach("", slow)
    for number in range(100):
        stage.telemetry.emit("flowstone.run.started", {"n": number}, {})
    threading.Timer(0.01, gate.set).start()
    stage.telemetry.close(20)
    assert seen == list(range(100))


def test_an_executor_that_stops_is_no_fault_of_the_handler(stage: Stage) -> None:
    telemetry = stage.open().telemetry
    handle = telemetry.attach("", lambda *told: None)
    stage.executor.stop(0)
    telemetry.emit("flowstone.run.started", {}, {})
    telemetry.close(20)
    assert (handle.attached, stage.reported) == (True, [])


@pytest.mark.parametrize("wrong", [None, 5, "print"])
def test_what_is_no_handler_is_refused(wrong: Any) -> None:
    with pytest.raises(fs.ValidationError, match="expected handler to be a plain function"):
        Telemetry().attach("", wrong)


def test_an_async_handler_a_prefix_that_is_no_text_and_no_handle_are_refused() -> None:
    async def handler(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None: ...

    class Handler:
        async def __call__(self, event: str, measured: dict[str, Any], about: dict[str, Any]) -> None: ...

    for each in (handler, Handler()):
        with pytest.raises(fs.ValidationError, match="plain function"):
            Telemetry().attach("", each)
    with pytest.raises(fs.ValidationError, match="expected prefix"):
        Telemetry().attach(None, print)  # type: ignore[arg-type]
    with pytest.raises(fs.ValidationError, match="expected the handle that attach gave, got: 'x'"):
        Telemetry().detach("x")  # type: ignore[arg-type]


# -- a whole runtime


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class World:
    """A runtime, what it tells, and a sensor and an asset that do as they are told."""

    def __init__(self, backend: str, clock: ManualClock, url: str = "memory://", **options: Any) -> None:
        self.shop, self.sensor, self.clock, self.seen = fs.Pipeline("shop"), ScriptedSensor(), clock, Seen()
        self.answers: list[Any] = []
        self.shop.asset(self.make, name="report", retry=fs.RetryPolicy(max_attempts=2, base=10, on=ValueError))
        self.shop.asset(lambda context, report: report, name="copy")
        self.shop.sensor("orders", self.sensor, target="report", every="30s")
        self.shop.schedule("hourly", cron="0 * * * *", target="report", overlap="allow")
        self.runtime = fs.Runtime(self.shop, store=url, backend=backend, clock=clock, **options)
        self.runtime.telemetry.attach("", lambda *told: self.seen.append(told))

    def make(self, context: fs.Context) -> Any:
        answer = self.answers.pop(0) if self.answers else 1
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def told(self, event: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        assert self.runtime.drain(timeout=20) is None
        return [(measured, about) for name, measured, about in self.seen if name == f"flowstone.{event}"]


@pytest.fixture
def world(backend: str, clock: ManualClock, request: pytest.FixtureRequest) -> Callable[..., World]:
    def make(**options: Any) -> World:
        made = World(backend, clock, **options)
        made.runtime.start()
        request.addfinalizer(lambda: made.runtime.stop(timeout=5))
        return made

    return make


def test_a_tick_is_told_with_its_lateness_and_then_its_run(world: Callable[..., World]) -> None:
    shop = world()
    shop.clock.advance("60m")
    [(measured, about)] = shop.told("schedule.tick")
    assert (about["schedule"], about["status"], about["tick_id"]) == ("hourly", "triggered", "hourly:1736946000")
    assert measured == {"lateness": 0.0, "count": 1}
    names = [name.removeprefix("flowstone.") for name, _, told in shop.seen if told.get("run_id") == about["run_id"]]
    assert names == [
        "schedule.tick",
        "run.requested",
        "run.started",
        "materialization.start",
        "io.start",
        "io.stop",
        "materialization.stop",
        "run.finished",
    ]
    [(measured, about)] = shop.told("run.finished")
    assert (about["status"], about["source"], about["asset"]) == ("success", "schedule:hourly", "report")
    assert measured == {"duration": 0.0, "queue_age": 0.0, "interruptions": 0}
    [(measured, about)] = shop.told("io.stop")
    assert (about["operation"], about["io_manager"], measured["duration"]) == ("store", "memory", 0.0)


def test_missed_ticks_are_told_with_their_count_and_lateness(
    backend: str, clock: ManualClock, tmp_path: Path, world: Callable[..., World]
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    with World(backend, clock, url).runtime:
        pass
    clock.advance("20h")
    late = world(url=url)
    [(measured, about)] = late.told("schedule.missed")
    assert (about["schedule"], about["reason"]) == ("hourly", "superseded")
    assert measured == {"lateness": 19 * 3600.0, "count": 19}
    [(measured, about)] = late.told("schedule.tick")
    assert measured == {"lateness": 0.0, "count": 1}


def test_the_ticks_that_an_edit_settles_are_told_too(world: Callable[..., World]) -> None:
    shop = world(scheduler=False)
    shop.clock.advance("2h")
    shop.runtime.schedules.update("hourly", cron="30 * * * *")
    assert [about["reason"] for _, about in shop.told("schedule.missed")] == ["edited", "edited"]
    shop.runtime.schedules.pause("hourly")
    shop.clock.advance("1h")
    shop.runtime.schedules.resume("hourly")
    assert [(about["status"], about["reason"]) for _, about in shop.told("schedule.tick")] == [("skipped", "paused")]


def test_ticks_by_hand_are_told_once(world: Callable[..., World]) -> None:
    shop = world()
    for _ in range(2):
        shop.runtime.schedules.trigger("hourly", at=NOW)
    shop.runtime.schedules.trigger("hourly")
    assert [about["manual"] for _, about in shop.told("schedule.tick")] == [True, True]


def test_an_evaluation_is_told_with_each_partition_that_it_triggered(world: Callable[..., World]) -> None:
    shop = world()
    shop.sensor.set_next(fs.Trigger("a", "b", state=1))
    shop.clock.advance("60s")
    first, second = shop.told("sensor.evaluated")
    assert first[0] == {"duration": 0.0, "lateness": 0.0, "request_count": 2, "duplicate_count": 0}
    assert (first[1]["sensor"], first[1]["status"], first[1]["cause"]) == ("orders", "triggered", "poll")
    assert second[1]["status"] == "no_trigger"
    assert [about["partition"] for _, about in shop.told("sensor.triggered")] == ["a", "b"]
    assert [about["partition"] for _, about in shop.told("run.requested")] == ["a", "b"]
    assert {about["source"] for _, about in shop.told("run.started")} == {"sensor:orders"}


def test_an_error_of_a_sensor_is_told_with_its_reason(world: Callable[..., World]) -> None:
    shop = world()
    shop.sensor.set_next(ValueError("no such day"))
    shop.runtime.sensors.poll("orders", timeout=20)
    [(measured, about)] = shop.told("sensor.error")
    assert (about["reason"], about["reason_code"]) == ("exception:ValueError: no such day", "exception:ValueError")
    assert measured == {"duration": 0.0, "failures": 1}


def test_a_pushed_message_is_told_once_however_often_it_is_pushed(backend: str, clock: ManualClock) -> None:
    shop, seen = fs.Pipeline("shop"), Seen()
    shop.asset(lambda context: 1, name="report")
    shop.sensor("pushed", Push(), target="report")
    with fs.Runtime(shop, store="memory://", backend=backend, clock=clock) as runtime:
        runtime.telemetry.attach("flowstone.sensor.evaluated", lambda *told: seen.append(told))
        for _ in range(2):
            runtime.sensors.push("pushed", {"day": 1}, message_id="m1")
        runtime.sensors.pause("pushed")
        runtime.sensors.push("pushed", {"day": 1}, message_id="m2")
        runtime.drain(timeout=20)
    assert [(about["cause"], about["status"]) for _, _, about in seen] == [("push", "triggered"), ("push", "skipped")]


def test_attempts_that_fail_are_exceptions_of_which_the_last_is_final(world: Callable[..., World]) -> None:
    shop = world()
    shop.answers[:] = [ValueError("boom"), ValueError("boom again")]
    handle = shop.runtime.materialize_async("report")
    shop.clock.advance("29s")
    with pytest.raises(fs.ExecutionError):
        handle.result(timeout=20)
    told = shop.told("materialization.exception")
    assert [(measured["attempt"], about["final"]) for measured, about in told] == [(1, False), (2, True)]
    assert {about["error_type"] for _, about in told} == {"execution_error"}
    assert "boom again" in told[1][1]["error"]
    [(_, about)] = shop.told("run.finished")
    assert (about["status"], about["run_id"]) == ("failed", handle.run_id)
    assert len(shop.told("run.started")) == 1


def test_a_request_that_finds_its_run_is_told_once(world: Callable[..., World]) -> None:
    shop = world()
    for _ in range(2):
        shop.runtime.materialize_async("report", run_key="mine")
    assert [about["run_key"] for _, about in shop.told("run.requested")] == ["mine"]


def test_a_skip_is_a_stop_with_its_reason(world: Callable[..., World]) -> None:
    shop = world()
    shop.answers[:] = [fs.Skip("nothing to do")]
    shop.runtime.materialize("report")
    [(_, about)] = shop.told("materialization.stop")
    assert (about["status"], about["reason"]) == ("skipped", "nothing to do")


def test_an_attempt_whose_run_was_cancelled_is_an_exception(world: Callable[..., World]) -> None:
    shop, begun, release = world(), threading.Event(), threading.Event()
    shop.answers[:] = [lambda: (begun.set(), release.wait())]
    handle = shop.runtime.materialize_async("report")
    assert begun.wait(20)
    handle.cancel()
    release.set()
    [(_, about)] = shop.told("materialization.exception")
    assert (about["error_type"], about["final"]) == ("stale_state", False)
    [(_, about)] = shop.told("run.finished")
    assert (about["status"], about["reason"]) == ("cancelled", "cancelled by hand")


def test_io_that_fails_is_an_exception_of_io(world: Callable[..., World]) -> None:
    shop = world(io_managers={"full": FullIO()}, io_manager="full")
    handle = shop.runtime.materialize_async("report")
    shop.clock.advance("29s")
    with pytest.raises(fs.IOManagerError):
        handle.result(timeout=20)
    told = shop.told("io.exception")
    assert [(about["asset"], about["operation"], about["error_type"]) for _, about in told] == [
        ("report", "store", "io_manager_error")
    ] * 2


class FullIO:
    """Stores nothing."""

    def store(self, context: Any, value: Any) -> Any:
        raise OSError("disk full")

    def load(self, context: Any, stored: Any) -> Any: ...

    def exists(self, context: Any, stored: Any) -> bool:
        return False

    def delete(self, stored: Any) -> None: ...


def test_loads_of_dependencies_are_told_too(world: Callable[..., World]) -> None:
    shop = world()
    shop.runtime.materialize_all("copy")
    told = [(about["asset"], about["operation"]) for _, about in shop.told("io.stop")]
    assert told == [("report", "store"), ("report", "load"), ("copy", "store")]
    assert [about.get("for_asset") for _, about in shop.told("io.stop")] == [None, "copy", None]


def test_an_interrupted_run_is_told_and_starts_once(world: Callable[..., World]) -> None:
    shop, begun, release = world(), threading.Semaphore(0), threading.Event()
    shop.answers[:] = [lambda: (begun.release(), release.wait())]
    handle = shop.runtime.materialize_async("report")
    assert begun.acquire(timeout=20)
    crash(shop.runtime.actor("services", "runs", "materializers", handle.run_id))
    release.set()
    handle.result(timeout=20)
    [(_, about)] = shop.told("run.interrupted")
    assert about["run_id"] == handle.run_id
    assert "its actor ended" in about["reason"]
    assert len(shop.told("run.started")) == 1
    assert shop.told("run.finished")[0][0]["interruptions"] == 1


def test_runs_that_the_end_of_a_runtime_interrupts_are_told(backend: str, clock: ManualClock) -> None:
    shop, begun, release = World(backend, clock), threading.Event(), threading.Event()
    shop.answers[:] = [lambda: (begun.set(), release.wait())]
    run_id = shop.runtime.start().materialize_async("report").run_id
    assert begun.wait(20)
    shop.runtime.stop(timeout=0.01)
    release.set()
    told = [about for name, _, about in shop.seen if name == "flowstone.run.interrupted"]
    assert told == [{"run_id": run_id, "reason": "the runtime was stopped"}]


def test_the_restart_of_an_actor_is_told_with_its_sensor(world: Callable[..., World]) -> None:
    shop = world()
    crash(shop.runtime.sensors.ref("orders"))
    shop.runtime.sensors.poll("orders", timeout=20)
    [(measured, about)] = shop.told("actor.restart")
    assert (about["sensor"], measured["restarts"]) == ("orders", 1)
    assert about["actor"].endswith("/services/sensors/orders")
    crash(shop.runtime.actor("services", "scheduler"))
    shop.runtime.schedules.trigger("hourly")
    assert "sensor" not in shop.told("actor.restart")[-1][1]


def test_a_handler_that_is_detached_for_its_faults_is_audited(world: Callable[..., World]) -> None:
    shop = world()

    def broken(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        raise ValueError("no")

    shop.runtime.telemetry.attach("flowstone.run.", broken)
    shop.runtime.materialize("report")
    shop.runtime.drain(timeout=20)
    [row] = shop.runtime.audit.list(event_type="telemetry.detached")
    assert (row.actor, row.details) == ("runtime", {"prefix": "flowstone.run.", "reason": "it raised ValueError('no')"})
    assert "broken" in row.resource


def test_the_events_of_the_table_are_those_that_are_told() -> None:
    sources = Path(telemetry_module.__file__).parent.rglob("*.py")
    emitted = {name for path in sources for name in re.findall(r'"(flowstone\.\w+\.\w+)"', path.read_text())}
    listed = set(re.findall(r"^\| `(flowstone\.\w+\.\w+)`", telemetry_module.__doc__ or "", re.MULTILINE))
    areas = {"actor", "approval", "backfill", "event", "io", "materialization"}
    areas |= {"resource", "run", "schedule", "sensor", "task"}
    assert listed == {name for name in emitted if name.split(".")[1] in areas}


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_a_runs_events_are_told_whole_and_in_order_before_the_runtime_has_stopped(backend: str) -> None:
    shop, seen = fs.Pipeline("shop"), []
    shop.asset(lambda context: 1, name="report")
    for _round in range(40):
        seen.clear()
        runtime = fs.Runtime(shop, store="memory://", backend=backend)
        handle = runtime.telemetry.attach("flowstone.run.", lambda event, *about: seen.append(event))
        with runtime:
            runtime.materialize("report")
        runtime.telemetry.detach(handle)
        assert [event.rpartition(".")[2] for event in seen] == ["requested", "started", "finished"]
