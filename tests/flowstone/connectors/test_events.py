"""Events: emitted, routed by exact type, handled once in effect, delivered again after a failure, buried in the end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flowstone as fs
from flowstone.connectors.events import QUEUE, Result
from flowstone.sensors import Push

WAIT = 20.0


class Seen:
    """What handlers saw, to be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.events) >= count, WAIT), f"saw {self.events}"
            return list(self.events)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def runtime(queue_url: str) -> Iterator[fs.Runtime]:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.trigger.payload, name="orders")
    with fs.Runtime(shop, store=queue_url, io_manager="memory") as runtime:
        yield runtime


def until(check: Callable[[], Any]) -> Any:
    """What `check` gives as soon as that is true; other threads get there."""
    turn = threading.Event()
    for _look in range(int(WAIT * 50)):
        found = check()
        if found:
            return found
        turn.wait(0.02)
    raise AssertionError("it never came to that")


def results(runtime: fs.Runtime) -> dict[str, Result]:
    return {row.event_type: row.result for row in runtime.connectors.events()}


def test_an_event_goes_to_the_one_handler_of_its_type(runtime: fs.Runtime, seen: Seen) -> None:
    other = Seen()
    runtime.connectors.on_event("order.placed", seen)
    runtime.connectors.on_event("order.paid", other)
    id = runtime.connectors.emit("order.placed", {"n": 1})
    (event,) = seen.wait(1)
    assert (event.id, event.event_type, event.payload, event.delivery) == (id, "order.placed", {"n": 1}, 1)
    assert other.events == []
    row = until(lambda: [row for row in runtime.connectors.events() if row.result is Result.HANDLED])[0]
    assert (row.id, row.payload, row.task) == (id, {"n": 1}, None) and row.lag is not None and row.lag >= 0
    assert runtime.queue.metrics(QUEUE).queue_length == 0


def test_a_handler_that_is_registered_before_the_start_gets_what_waits(queue_url: str, seen: Seen) -> None:
    with fs.Client(store=queue_url) as client:
        client.connectors.emit("early", 1)
    runtime = fs.Runtime(store=queue_url, io_manager="memory")
    runtime.connectors.on_event("early", seen)
    if queue_url != "memory://":
        with runtime:
            assert seen.wait(1)[0].payload == 1


def test_two_handlers_of_one_type_are_refused(runtime: fs.Runtime, seen: Seen) -> None:
    runtime.connectors.on_event("order.placed", seen)
    with pytest.raises(fs.ValidationError, match="'order.placed'"):
        runtime.connectors.on_event("order.placed", Seen())


def test_an_event_that_fails_comes_again_after_its_timeout(runtime: fs.Runtime, seen: Seen) -> None:
    def handle(event: Any) -> None:
        seen(event)
        if event.delivery < 2:
            raise RuntimeError("not yet")

    runtime.connectors.on_event("flaky", handle, vt="100ms")
    runtime.connectors.emit("flaky")
    assert [event.delivery for event in seen.wait(2)] == [1, 2]
    until(lambda: results(runtime) == {"flaky": Result.HANDLED})


def test_an_event_that_fails_too_often_is_buried_with_its_error_and_can_be_queued_again(
    runtime: fs.Runtime, seen: Seen
) -> None:
    broken = [True]

    def handle(event: Any) -> None:
        seen(event)
        if broken:
            raise RuntimeError("it is broken")

    runtime.connectors.on_event("doomed", handle, vt="100ms", max_deliveries=2)
    id = runtime.connectors.emit("doomed", {"a": 1})
    (letter,) = until(runtime.connectors.dead_letters)
    assert (letter.id, letter.event_type, letter.payload, letter.deliveries) == (id, "doomed", {"a": 1}, 2)
    assert "it is broken" in letter.error
    assert results(runtime) == {"doomed": Result.DEAD}
    broken.clear()
    runtime.connectors.requeue(id)
    assert runtime.connectors.dead_letters() == ()
    assert seen.wait(3)[-1].delivery == 1
    until(lambda: results(runtime) == {"doomed": Result.HANDLED})


def test_an_event_of_an_unknown_type_is_buried_at_once(runtime: fs.Runtime, seen: Seen) -> None:
    runtime.connectors.on_event("order.placed", seen)
    runtime.connectors.emit("order.plased")
    (letter,) = until(runtime.connectors.dead_letters)
    assert "no handler" in letter.error and "'order.placed'" in letter.error
    assert "dead letters" in str(runtime.health())


def test_what_a_handler_emits_and_asks_for_takes_effect_with_its_success_alone(
    runtime: fs.Runtime, seen: Seen
) -> None:
    def handle(event: Any, context: Any) -> None:
        context.emit("signal.done", {"of": event.id})
        context.materialize("orders")
        if event.delivery == 1:
            raise RuntimeError("after all")

    runtime.connectors.on_event("start", handle, vt="100ms")
    runtime.connectors.on_event("signal.done", seen)
    id = runtime.connectors.emit("start", {"rows": 3})
    assert [event.payload for event in seen.wait(1)] == [{"of": id}]
    run = until(lambda: [run for run in runtime.runs.list() if run.status == "success"])[0]
    assert run.run_key == f"event:{id}"
    assert {row.id: row.run_ids for row in runtime.connectors.events()}[id] == (run.run_id,)
    assert runtime.get("orders") == {"rows": 3}
    assert len(runtime.runs.list()) == len(seen.events) == 1


def test_a_handler_that_takes_the_connection_writes_in_the_transaction_of_its_success(
    runtime: fs.Runtime, seen: Seen
) -> None:
    runtime.queue.create("marks")

    def handle(event: Any, *, connection: Any) -> None:
        columns = "(event_type, actor, resource, details, at)"
        values = f"('mark', 'me', 'x', '{{}}', '2025-01-0{event.delivery}T00:00:00.000000Z')"
        connection.execute(f"insert into audit {columns} values {values}")
        seen(event)
        if event.delivery == 1:
            raise RuntimeError("taken back")

    runtime.connectors.on_event("mark", handle, vt="100ms")
    runtime.connectors.emit("mark")
    seen.wait(2)
    until(lambda: results(runtime) == {"mark": Result.HANDLED})
    assert [row.at.day for row in runtime.audit.list(event_type="mark")] == [2]


def test_a_handler_that_ends_the_transaction_of_its_connection_has_failed(runtime: fs.Runtime) -> None:
    def handle(event: Any, *, connection: Any) -> None:
        connection.execute("commit")

    runtime.connectors.on_event("rude", handle, vt="100ms", max_deliveries=1)
    runtime.connectors.emit("rude")
    (letter,) = until(runtime.connectors.dead_letters)
    assert "transaction" in letter.error


def test_an_async_handler_is_run_to_its_end(runtime: fs.Runtime, seen: Seen) -> None:
    async def handle(event: Any) -> None:
        seen(event)

    runtime.connectors.on_event("later", handle)
    runtime.connectors.emit("later")
    seen.wait(1)
    until(lambda: results(runtime) == {"later": Result.HANDLED})


def test_a_message_stays_in_the_hand_of_a_handler_that_takes_longer_than_its_timeout(
    runtime: fs.Runtime, seen: Seen
) -> None:
    go_on = threading.Event()

    def handle(event: Any) -> None:
        seen(event)
        assert go_on.wait(WAIT)

    runtime.connectors.on_event("slow", handle, vt="300ms")
    runtime.connectors.emit("slow")
    runtime.connectors.on_event("tick", lambda event: None, vt="300ms")
    (first,) = seen.wait(1)
    begun = runtime.queue.metrics(QUEUE).scrape_time
    until(lambda: (runtime.queue.metrics(QUEUE).scrape_time - begun).total_seconds() > 1.0)
    go_on.set()
    until(lambda: results(runtime) == {"slow": Result.HANDLED})
    assert [event.delivery for event in seen.events] == [1]


def test_a_connector_emits_its_signal_when_it_is_triggered(runtime: fs.Runtime, seen: Seen) -> None:
    runtime.connectors.add(
        fs.Connector("pulse", signal_event_type="signal.pulse", signal_payload={"beat": True})
    )
    runtime.connectors.on_event("signal.pulse", seen)
    runtime.connectors.emit("connector.trigger.pulse", {"connectorId": "pulse"})
    assert seen.wait(1)[0].payload == {"beat": True}


@pytest.mark.parametrize(
    "call",
    [
        lambda connectors: connectors.on_event("a b", print),
        lambda connectors: connectors.on_event("a", "no function"),
        lambda connectors: connectors.on_event("a", lambda: None),
        lambda connectors: connectors.on_event("a", lambda a, b, c: None),
        lambda connectors: connectors.on_event("a", print, vt="never"),
        lambda connectors: connectors.on_event("a", print, max_deliveries=0),
        lambda connectors: connectors.emit("a", object()),
        lambda connectors: connectors.emit("a'; drop table run; --"),
        lambda connectors: connectors.requeue("evt_nobody"),
        lambda connectors: connectors.add("no connector"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(call: Callable[[Any], Any], make_store_url: Any) -> None:
    with fs.Runtime(store=make_store_url("memory")) as runtime:
        with pytest.raises(fs.ValidationError):
            call(runtime.connectors)
        assert runtime.connectors.events() == () and runtime.connectors.dead_letters() == ()


def test_the_raw_connection_on_sqlite_is_the_drivers_own(make_store_url: Any, seen: Seen) -> None:
    with fs.Runtime(store=make_store_url("sqlite")) as runtime:
        runtime.connectors.on_event("mark", lambda event, *, connection: seen(type(connection)))
        runtime.connectors.emit("mark")
        assert seen.wait(1) == [sqlite3.Connection]


def test_the_router_goes_on_when_the_database_was_restarted(
    postgres_server: Any, postgres_url: str, seen: Seen
) -> None:
    if not postgres_server.ours:
        pytest.skip("the server is not the tests' own, and may not be restarted")
    with fs.Runtime(store=postgres_url, io_manager="memory") as runtime:
        runtime.connectors.on_event("work", seen, vt="200ms")
        runtime.connectors.emit("work", 1)
        seen.wait(1)
        postgres_server.stop()
        with pytest.raises(fs.StoreUnavailable):
            runtime.connectors.emit("work", 2)
        postgres_server.start()
        until(lambda: _emitted(runtime, 3))
        until(lambda: {event.payload for event in seen.events} >= {1, 3})
        until(lambda: set(results(runtime).values()) == {Result.HANDLED})


def _emitted(runtime: fs.Runtime, payload: int) -> bool:
    try:
        return bool(runtime.connectors.emit("work", payload, event_id=f"number-{payload}"))
    except fs.StoreUnavailable:
        return False


def test_a_signal_pushes_to_a_sensor_once_however_often_it_is_delivered(store_url: str, seen: Seen) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.partition, name="orders")
    shop.sensor("inbox", Push(), target="orders", partition=lambda message: message["day"])

    def handle(event: Any, context: Any) -> None:
        context.push("inbox", event.payload)
        seen(event)
        if event.delivery == 1:
            raise RuntimeError("after the push")

    with fs.Runtime(shop, store=store_url, io_manager="memory") as runtime:
        runtime.connectors.on_event("signal.day", handle, vt="100ms")
        runtime.connectors.emit("signal.day", {"day": "monday"})
        seen.wait(2)
        until(lambda: results(runtime) == {"signal.day": Result.HANDLED})
        runtime.drain(timeout=20)
        assert [run.partition for run in runtime.runs.list()] == ["monday"]
        assert len(runtime.sensors.history("inbox")) == 1
