"""Two runtimes on one PostgreSQL, here in one process: what one is told the other knows, and duties move."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import flowstone as fs
import pytest
from flowstone.sensors import Push
from flowstone.state import nodes
from flowstone.state.assignment import Cluster
from flowstone.state.database import Database
from flowstone.testing import ScriptedSensor

SENSORS = 8


def shop(delivered: Callable[[Any], None]) -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.partition, name="raw")
    made.schedule("nightly", cron="0 2 * * *", target="raw")
    made.sensor("orders", Push(), target="raw", on_trigger=delivered)
    for number in range(SENSORS):
        made.sensor(f"files-{number}", ScriptedSensor(), every="1h", target="raw")
    return made


class Pair:
    """Two runtimes that have come to terms."""

    def __init__(self, url: str) -> None:
        self.deliveries: list[tuple[str, Any]] = []
        self.delivered = threading.Semaphore(0)
        self.first, self.second = self._start(url, "first"), self._start(url, "second")
        with Database.open(url, exclusive=False) as database:
            self.wait_until(lambda: _agreed(database.read(nodes.cluster_of)))
        self.wait_until(lambda: len(self.polled(self.first)) + len(self.polled(self.second)) == SENSORS + 1)

    def _start(self, url: str, name: str) -> fs.Runtime:
        def note(event: Any) -> None:
            self.deliveries.append((name, event.payload))
            self.delivered.release()

        return fs.Runtime(shop(note), store=url, io_manager="memory").start()

    def polled(self, runtime: fs.Runtime) -> set[str]:
        """The sensors that have an actor on a node."""
        return {child.id for child in runtime.actor("services", "sensors").which_children()}

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for what the nodes do by themselves, as long as they may take."""
        waiting, looks = threading.Event(), 400
        while not holds():
            looks -= 1
            assert looks, "it never came to that"
            waiting.wait(0.05)

    def stop(self) -> None:
        """Stop both; harmless when repeated."""
        self.first.stop(timeout=5)
        self.second.stop(timeout=5)


def _agreed(cluster: Cluster) -> bool:
    return len(cluster.nodes) == 2 and cluster.settled


@pytest.fixture
def pair(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(nodes, "HEARTBEAT", 1.0)
    pair = Pair(postgres_url)
    yield pair
    pair.stop()


def test_each_sensor_has_one_actor_and_can_be_polled_and_steered_from_both(pair: Pair) -> None:
    assert not pair.polled(pair.first) & pair.polled(pair.second)
    for number in range(SENSORS):
        for runtime in (pair.first, pair.second):
            assert runtime.sensors.poll(f"files-{number}").status == "no_trigger"
    elsewhere = next(iter(pair.polled(pair.first)))
    with pytest.raises(fs.RuntimeStopped, match="it is polled by process"):
        pair.second.sensors.ref(elsewhere)
    pair.second.sensors.pause(elsewhere)
    pair.wait_until(lambda: pair.first.sensors.poll(elsewhere).status == "skipped")
    assert pair.first.sensors.resume(elsewhere).status == "active"


def test_what_is_pushed_to_any_node_runs_and_is_delivered_once_by_the_oldest(pair: Pair) -> None:
    pushed = [
        runtime.sensors.push("orders", {"order": f"{name}-{number}"}, message_id=f"{name}-{number}")
        for number in range(3)
        for name, runtime in (("a", pair.first), ("b", pair.second))
    ]
    handles = [run_id for evaluation in pushed for run_id in evaluation.run_ids]
    pair.wait_until(lambda: all(pair.second.runs.get(run_id).status == "success" for run_id in handles))
    for _ in pushed:
        assert pair.delivered.acquire(timeout=20)
    pair.wait_until(lambda: all(each.status == "delivered" for each in pair.second.sensors.deliveries("orders")))
    assert {name for name, _payload in pair.deliveries} == {"first"}
    assert len(pair.deliveries) == len(pushed)


def test_who_waits_for_a_run_hears_of_it_whichever_node_makes_it(pair: Pair) -> None:
    handles = [pair.second.materialize_async("raw", f"day-{number}") for number in range(4)]
    assert [handle.result(timeout=20).status for handle in handles] == ["success"] * 4


def test_a_sensor_that_is_added_to_a_node_is_polled_there_and_forgotten_when_removed(pair: Pair) -> None:
    pair.second.sensors.add("added", ScriptedSensor(), every="1h", target="raw")
    assert pair.second.sensors.poll("added").status == "no_trigger"
    pair.wait_until(lambda: "added" in pair.polled(pair.second))
    pair.second.sensors.remove("added")
    assert "added" not in pair.polled(pair.second)


def test_a_node_that_stops_in_order_hands_over(pair: Pair) -> None:
    told = str([part.reason for part in pair.second.health().parts if part.kind == "node"])
    assert told.count("the scheduler") == 1
    pair.first.stop(timeout=5)
    everything = {f"files-{number}" for number in range(SENSORS)} | {"orders"}
    pair.wait_until(lambda: pair.polled(pair.second) == everything)
    (row,) = [part for part in pair.second.health().parts if part.kind == "node"]
    assert row.reason == f"it has the scheduler and {SENSORS + 1} sensors"
