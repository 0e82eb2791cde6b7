"""A server that goes down and comes back: the actors keep their work, say so, and go on by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import flowstone as fs
from actors.testing import ManualClock
from flowstone.errors import StoreUnavailable
from flowstone.state.nodes import HEARTBEAT
from flowstone.testing import ScriptedSensor

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def server(postgres_server: Any) -> Iterator[Any]:
    """The tests' own server, which is up again after the test."""
    if not postgres_server.ours:
        pytest.skip("the server is not the tests' own")
    yield postgres_server
    postgres_server.start()


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_ten_minutes_without_a_server_lose_nothing_and_double_nothing(
    backend: str, postgres_url: str, server: Any
) -> None:
    clock = ManualClock(NOW)
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="report")
    shop.asset(lambda context: context.partition, name="order")
    shop.schedule("minutes", target="report", every="1m", misfire="all", overlap="queue_all")
    arrivals = ScriptedSensor()
    arrivals.set_next(fs.Trigger("a", state=1))
    shop.sensor("orders", arrivals, every="30s", target="order")
    with fs.Runtime(shop, store=postgres_url, io_manager="memory", clock=clock, backend=backend) as runtime:
        clock.advance(61)
        runtime.drain(timeout=20)
        arrivals.set_next(fs.Trigger("b", state=2))
        acknowledged = {run.run_id for run in runtime.runs.list(status="success")}
        assert acknowledged
        server.stop()
        with pytest.raises(StoreUnavailable):
            runtime.schedules.trigger("minutes")
        for down in [HEARTBEAT, 600 - HEARTBEAT]:
            clock.advance(down)
            health = runtime.health()
            assert (health.status, [part.kind for part in health.problems][:1]) == ("down", ["store"])
        server.start()
        arrivals.set_next(fs.Trigger("c", state=3))
        clock.advance(120)
        runtime.drain(timeout=20)
        assert runtime.health().status == "ok"
        runs = runtime.runs.list(limit=1000)
        assert {run.status for run in runs} == {"success"}
        assert acknowledged <= {run.run_id for run in runs}
        assert sorted(run.partition for run in runs if run.asset == "order") == ["a", "b", "c"]
        ticks = runtime.schedules.history("minutes", limit=1000)
        assert [tick.status for tick in ticks if tick.count != 1] == []
        instants = [tick.scheduled_for for tick in ticks if not tick.manual]
        assert len(instants) == len(set(instants)) == 13
