"""What the store tells of a service in another process: heartbeats, what is overdue, and the queue."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import flowstone as fs
from flowstone.sensors import Push, SensorSpec
from flowstone.state import nodes
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.testing import ScriptedSensor
from flowstone.vitals import Vitals, vitals

Look = Callable[..., Vitals]
NOTHING = timedelta(0)


@pytest.fixture
def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: None, name="raw")
    made.schedule("hourly", cron="0 * * * *", target="raw")
    made.sensor("files", ScriptedSensor(), every="10m", target="raw")
    made.sensor("orders", Push(), target="raw")
    return made


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


def join(connection: Connection, heard: datetime) -> None:
    connection.execute("delete from node")
    nodes.join(connection, boot="boot", name=socket.gethostname(), offers=(), now=heard)


@pytest.fixture
def look(url: str) -> Look:
    """How the service is, so long after now, when its node was heard of that long ago."""

    def run(*, after: timedelta = NOTHING, silent: float = 0.0, **options: Any) -> Vitals:
        now = datetime.now(UTC) + after
        with Database.open(url, exclusive=False) as database:
            heard = now - timedelta(seconds=silent)
            database.transact(lambda connection: join(connection, heard))
            given = {"longest_wait": 900.0, "local": True, **options}
            return database.read(lambda connection: vitals(connection, now, **given))

    return run


def test_a_service_that_keeps_up_is_ok(shop, url, look):
    with fs.Client(shop, store=url):
        found = look()
    assert (found.health.status, found.health.problems) == ("ok", ())
    assert (found.queue.queued, found.age, found.nodes[0].pid) == (0, None, os.getpid())


def test_a_node_that_is_silent_is_down(shop, url, look):
    with fs.Client(shop, store=url):
        found = look(silent=31)
    assert found.health.status == "down"
    assert "31 s ago" in str(found.health)


def test_a_process_that_is_gone_is_down_at_once(shop, url, look, monkeypatch):
    def gone(pid: int, signal: int) -> None:
        raise ProcessLookupError

    with fs.Client(shop, store=url):
        monkeypatch.setattr(os, "kill", gone)
        assert look(silent=1).health.status == "down"
        assert look(silent=1, local=False).health.status == "ok"


def test_a_schedule_and_a_sensor_that_did_not_move_are_overdue(shop, url, look):
    with fs.Client(shop, store=url):
        found = look(after=timedelta(hours=3))
    assert found.health.status == "degraded"
    assert [(part.kind, part.name) for part in found.health.problems] == [("schedule", "hourly"), ("sensor", "files")]
    assert all("overdue by" in part.reason for part in found.health.problems)


def test_a_sensor_that_rests_is_not_overdue(shop, url, look):
    with fs.Client(shop, store=url) as client:
        client.schedules.delete("hourly")
        client.sensors.pause("files")
    assert look(after=timedelta(hours=3)).health.status == "ok"


def test_a_poll_may_take_as_long_as_its_timeout(shop, url, look):
    with fs.Client(shop, store=url) as client:
        client.schedules.delete("hourly")
    late = timedelta(minutes=13)
    assert look(after=late).health.status == "degraded"
    patient = SensorSpec("files", ScriptedSensor(), every="10m", target="raw", timeout="10m")
    assert look(after=late, specs={"files": patient}).health.status == "ok"
    assert look(after=timedelta(minutes=22), specs={"files": patient}).health.status == "degraded"


def test_a_broken_sensor_is_named_with_its_reason(url, look):
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    scripted = ScriptedSensor()
    scripted.set_next(ValueError("no"))
    shop.sensor("files", scripted, every="10m", target="raw", break_after=1)
    with fs.Client(shop, store=url) as client:
        client.sensors.poll("files")
    assert str(look().health) == "degraded\nsensor files is degraded: broken: failures"


def test_a_run_that_waits_too_long_is_told(shop, url, look):
    with fs.Client(shop, store=url) as client:
        client.materialize_async("raw")
        client.sensors.pause("files")
        client.schedules.delete("hourly")
    found = look(after=timedelta(minutes=20))
    assert [(part.kind, found.queue.queued) for part in found.health.problems] == [("queue", 1)]
    assert look(after=timedelta(minutes=20), longest_wait=3600.0).health.status == "ok"


def test_an_account_ahead_of_the_clock_is_told(shop, url, look):
    with fs.Client(shop, store=url):
        found = look(after=timedelta(days=-2))
    assert "ahead of the clock" in str(found.health)


def test_a_store_that_nobody_served_is_down_and_fails_the_command(call):
    call("schedule", "list")
    found = call("health", "--json")
    assert (found.code, found.json["status"]) == (1, "down")
    assert found.json["parts"][0]["reason"] == "no runtime ever served this store"
    assert call("health", "--live").code == 1
    assert "down" in call("health").out
