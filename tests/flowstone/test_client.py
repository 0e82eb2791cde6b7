"""Clients: the calls that need no actor, on the store of a runtime that runs, or that will."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import flowstone as fs
import pytest
from flowstone import assembly
from flowstone.testing import ScriptedSensor


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.partition, name="raw")
    made.schedule("nightly", cron="0 2 * * *", target="raw")
    made.sensor("files", ScriptedSensor(), every="1h", target="raw")
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


def test_a_client_needs_no_runtime_and_leaves_its_work_to_the_next(url: str) -> None:
    with fs.Client(shop(), store=url) as client:
        run_id = client.materialize_async("raw", partition="a").run_id
        assert [schedule.name for schedule in client.schedules.list()] == ["nightly"]
        assert [sensor.name for sensor in client.sensors.list()] == ["files"]
        client.schedules.pause("nightly", by="ada")
        tick = client.schedules.trigger("nightly")
        assert client.runs.get(run_id).status == "queued"
        assert client.audit.list(event_type="schedule.paused")[0].actor == "ada"
    with fs.Runtime(shop(), store=url) as runtime:
        runtime.drain(timeout=20)
        assert runtime.get("raw", partition="a") == "a"
        assert runtime.runs.get(tick.run_id or "").status == "success"
        assert not runtime.schedules.get("nightly").enabled


def test_a_runtime_sees_what_a_client_commits(url: str) -> None:
    done = threading.Event()
    pipeline = shop()
    pipeline.asset(lambda context: done.set(), name="seen")
    with fs.Runtime(pipeline, store=url), fs.Client(pipeline, store=url) as client:
        handle = client.materialize_async("seen")
        assert done.wait(20)
        assert handle.run_id in {run.run_id for run in client.runs.list()}


def test_a_run_that_a_client_cancels_keeps_its_partition_until_its_call_ends(url: str) -> None:
    pipeline, begun, release = shop(), threading.Semaphore(0), threading.Event()
    at_once: list[int] = []

    @pipeline.asset
    def slow(context: fs.Context) -> int:
        at_once.append(1)
        begun.release()
        release.wait()
        assert len(at_once) == 1
        at_once.pop()
        return 1

    with fs.Runtime(pipeline, store=url) as runtime, fs.Client(pipeline, store=url) as client:
        first = runtime.materialize_async("slow")
        assert begun.acquire(timeout=20)
        assert client.runs.cancel(first.run_id)
        second = runtime.materialize_async("slow")
        # Another run goes through the dispatcher meanwhile: it has looked at the queue.
        runtime.materialize("raw", partition="b")
        assert (first.status, second.status) == ("cancelled", "queued")
        release.set()
        assert second.result(timeout=20).value == 1


def test_a_client_beside_a_runtime_changes_no_definitions(url: str) -> None:
    with fs.Runtime(shop(), store=url) as runtime, fs.Client(store=url) as client:
        assert client.schedules.get("nightly").status == "active"
        assert runtime.schedules.get("nightly").status == "active"


def test_a_client_does_not_keep_a_runtime_out(url: str) -> None:
    with fs.Client(shop(), store=url), fs.Runtime(shop(), store=url) as runtime:
        assert runtime.health().status == "ok"


def test_a_client_that_is_not_open_says_so(url: str) -> None:
    with pytest.raises(fs.RuntimeStopped, match="context manager"):
        fs.Client(shop(), store=url).runs.list()
    with pytest.raises(fs.ValidationError, match="expected pipelines"):
        fs.Client("shop")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_service_may_start_while_a_client_writes_its_definitions(kind, make_store_url, monkeypatch) -> None:
    url, pipeline = make_store_url(kind), shop()
    runtime = fs.Runtime(pipeline, store=url, io_manager="memory")
    starting = threading.Thread(target=runtime.start)
    write = assembly.register
    writes: list[int] = []

    def register(*arguments) -> None:
        writes.append(1)
        if len(writes) == 1:
            starting.start()
        write(*arguments)

    monkeypatch.setattr(assembly, "register", register)
    with fs.Client(pipeline, store=url) as client:
        starting.join(20)
        assert not starting.is_alive()
        assert [sensor.name for sensor in client.sensors.list()] == ["files"]
        assert runtime.schedules.get("nightly").name == "nightly"
        assert len(writes) == 2
    runtime.stop()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_client_beside_a_runtime_leaves_the_definitions_alone(kind, make_store_url) -> None:
    url = make_store_url(kind)
    with fs.Runtime(shop(), store=url, io_manager="memory") as runtime:
        other = fs.Pipeline("other")
        other.asset(lambda context: 0, name="other")
        with fs.Client(other, store=url):
            assert not runtime.sensors.get("files").orphaned


def test_a_client_is_opened_and_closed_by_calls_where_no_block_encloses_a_service(url: str) -> None:
    client = fs.Client(shop(), store=url)
    with pytest.raises(fs.RuntimeStopped, match=r"the client is not open: call start\(\)"):
        client.runs.list()
    client.stop()
    assert client.start() is client
    assert client.start() is client
    run_id = client.materialize_async("raw", partition="a").run_id
    client.stop()
    client.stop()
    with pytest.raises(fs.RuntimeStopped):
        client.runs.list()
    assert client.start().runs.get(run_id).status == "queued"
    client.stop()


def test_a_client_has_its_calls_for_asyncio(url: str) -> None:
    async def ask() -> list[str]:
        async with fs.Client(shop(), store=url) as client:
            await client.aio.materialize_async("raw", partition="a")
            return [run.status for run in await client.aio.runs.list()]

    assert asyncio.run(ask()) == ["queued"]


def test_a_client_tells_the_health_of_the_runtime_that_holds_the_store(url: str) -> None:
    with fs.Client(shop(), store=url) as client:
        assert "no runtime ever served this store" in str(client.health())
        assert client.health().status == "down"
        with fs.Runtime(shop(), store=url):
            assert client.health().status == "ok"
        assert client.health().status == "down"
    with pytest.raises(fs.RuntimeStopped):
        client.health()


def test_a_client_that_was_opened_before_a_fork_is_left_alone_by_the_child(url: str) -> None:
    with fs.Client(shop(), store=url) as client:
        child = os.fork()
        if child == 0:
            client.stop()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert client.runs.list() == ()
