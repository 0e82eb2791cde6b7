"""Callbacks: called at least once for each arrival, from a durable outbox."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from actors.testing import crash
from flowstone.core.run import RunRequest
from flowstone.errors import SensorNotFound, ValidationError
from flowstone.runs.store import list_runs
from flowstone.sensors import Arrival, Push, SensorSpec, Trigger, TriggerEvent
from flowstone.sensors.announcing import deliver_soon
from flowstone.sensors.deliveries import Deliveries
from flowstone.sensors.outbox import MOST_ATTEMPTS, pause_after

Spec = Callable[..., SensorSpec]


class Callback:
    """Fails as often as it is told, and keeps the events."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.events, self.calls = list(errors), list[TriggerEvent](), 0

    def __call__(self, event: TriggerEvent) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.events.append(event)


def statuses(room: Any, **options: Any) -> list[str]:
    return [str(delivery.status) for delivery in room.sensors.deliveries("orders", **options)]


def test_each_arrival_is_delivered_in_order(room: Any, spec: Spec) -> None:
    callback = Callback()
    sized = Arrival("b", payload={"size": 1})
    room.open(spec(Trigger("a", sized, RunRequest("days", "2025-01-01")), on_trigger=callback))
    evaluation = room.sensors.poll("orders")
    room.settle()
    assert [event.partition for event in callback.events[:2]] == ["a", "b"]
    assert callback.events[2].partition.isoformat() == "2025-01-01"  # type: ignore[union-attr]  # a date
    assert [event.payload for event in callback.events] == [None, {"size": 1}, None]
    assert {(event.sensor, event.evaluation_id) for event in callback.events} == {("orders", evaluation.eval_id)}
    assert statuses(room) == ["delivered"] * 3
    assert room.sensors.deliveries("orders")[0].delivered_at == room.clock.now()
    assert len(evaluation.run_ids) == 3


def test_with_a_callback_alone_nothing_is_run(room: Any, spec: Spec) -> None:
    callback = Callback()
    made = spec(Trigger("a", 1.5), Trigger("2025-01-15", RunRequest("raw")), target=None, on_trigger=callback)
    assert made.target is None
    room.open(made)
    assert room.sensors.poll("orders").reason_code == "partition_error"
    evaluation = room.sensors.poll("orders")
    room.settle()
    assert (evaluation.request_count, len(evaluation.run_ids)) == (2, 1)
    assert [event.partition for event in callback.events] == ["2025-01-15", None]
    assert len(room.database.read(lambda c: list_runs(c))) == 1


def test_an_arrival_that_is_known_is_not_delivered_again(room: Any, spec: Spec) -> None:
    callback = Callback()
    room.open(spec(*[Trigger(Arrival("a", key="1"))] * 2, on_trigger=callback))
    room.sensors.poll("orders")
    room.sensors.poll("orders")
    room.settle()
    assert callback.calls == 1


def test_a_decorated_function_is_the_callback(room: Any, spec: Spec) -> None:
    made = spec(Trigger("a"), target=None)
    events: list[Any] = []

    @made
    async def on_orders(event: TriggerEvent) -> None:
        events.append(event.partition)

    assert (made.on_trigger, made.target) == (on_orders, None)
    with pytest.raises(ValidationError, match="expected one on_trigger"):
        made(on_orders)
    with pytest.raises(ValidationError, match="expected on_trigger to be callable"):
        spec()("nonsense")  # type: ignore[type-var]  # what the test is about
    room.open(made)
    room.sensors.poll("orders")
    room.settle()
    assert events == ["a"]


def test_a_push_is_delivered(room: Any) -> None:
    callback = Callback()
    room.open(SensorSpec("orders", Push(), on_trigger=callback))
    room.sensors.push("orders", {"a": 1}, message_id="m")
    room.settle()
    assert [event.payload for event in callback.events] == [{"a": 1}]


def test_a_callback_that_raises_is_tried_again_ever_later(room: Any, spec: Spec) -> None:
    callback = Callback(ValueError("boom"), ValueError("boom"))
    room.open(spec(Trigger("a", state=1), on_trigger=callback, every=None))
    room.sensors.poll("orders")
    room.settle()
    (delivery,) = room.sensors.deliveries("orders")
    assert (delivery.status, delivery.attempts, delivery.error) == ("pending", 1, "exception:ValueError: boom")
    assert room.sensors.get("orders").state == 1
    room.clock.advance("9s")
    assert callback.calls == 1
    room.clock.advance("3s")
    assert callback.calls == 2
    room.clock.advance("34s")
    assert (callback.calls, statuses(room)) == (3, ["delivered"])


def test_a_delivery_that_always_fails_is_parked_within_a_day_and_may_be_retried(room: Any, spec: Spec) -> None:
    callback = Callback(*[ValueError("boom")] * MOST_ATTEMPTS)
    room.open(spec(Trigger("a"), on_trigger=callback, every=None))
    room.sensors.poll("orders")
    room.clock.advance("1d")
    (delivery,) = room.sensors.deliveries("orders", status="failed")
    assert (delivery.attempts, delivery.next_at, callback.calls) == (MOST_ATTEMPTS, None, MOST_ATTEMPTS)
    assert sum(pause_after("orders", n) for n in range(1, MOST_ATTEMPTS)) < 86_400
    assert room.sensors.retry_delivery(delivery.id, by="ann").status == "pending"
    room.settle()
    assert (len(callback.events), statuses(room)) == (1, ["delivered"])
    for id in (delivery.id, 99):
        with pytest.raises(ValidationError, match="expected the id of a delivery"):
            room.sensors.retry_delivery(id)


def test_a_delivery_that_fails_lets_the_next_one_pass(room: Any, spec: Spec) -> None:
    callback = Callback(ValueError("boom"))
    room.open(spec(Trigger("a", "b"), on_trigger=callback, every=None))
    room.sensors.poll("orders")
    room.settle()
    assert [event.partition for event in callback.events] == ["b"]
    assert statuses(room) == ["delivered", "pending"]


def test_a_callback_that_hangs_blocks_neither_polling_nor_other_sensors(room: Any, spec: Spec) -> None:
    gate, begun, other = threading.Event(), threading.Event(), Callback()
    threads: list[threading.Thread] = []

    def hang(event: TriggerEvent) -> None:
        threads.append(threading.current_thread())
        begun.set()
        gate.wait(20)

    hanging = spec(Trigger("a", "b"), on_trigger=hang, timeout="5s", max_abandoned=1)
    room.open(hanging, spec(Trigger("x"), name="other", on_trigger=other))
    room.sensors.poll("orders")
    assert begun.wait(5)
    room.sensors.poll("other")
    room.clock.advance("1m")
    assert (other.calls, len(hanging.sensor.states)) == (1, 3)
    assert [delivery.error for delivery in room.sensors.deliveries("orders")] == [None, "timeout"]
    assert len(threads) == 1
    gate.set()
    threads[0].join(5)
    room.settle()
    assert statuses(room) == ["delivered", "delivered"]


class SlowReading:
    """A store that keeps what was read back for as long as it is held."""

    def __init__(self, database: Any) -> None:
        self.database, self.held, self.kept, self.read_once = database, False, list[Callable[[], None]](), Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def read_later(self, query: Any, then: Any) -> None:
        held = self.held

        def answer(outcome: Any) -> None:
            if not held:
                then(outcome)
                return
            self.kept.append(lambda: then(outcome))
            self.read_once.set()

        self.database.read_later(query, answer)


def test_a_delivery_that_was_concluded_while_the_store_was_read_is_not_taken_again(room: Any, spec: Spec) -> None:
    begun, release, calls, stores = Event(), Event(), list[TriggerEvent](), list[SlowReading]()

    def callback(event: TriggerEvent) -> None:
        calls.append(event)
        begun.set()
        assert release.wait(20)

    def slow(database: Any) -> SlowReading:
        stores.append(SlowReading(database))
        return stores[0]

    room.open(spec(Trigger("a"), on_trigger=callback, target=None), through=slow)
    room.sensors.poll("orders", timeout=20)
    assert begun.wait(20)
    stores[0].held = True
    deliver_soon(room.services)
    assert stores[0].read_once.wait(20)
    stores[0].held = False
    release.set()
    room.settle()
    assert statuses(room) == ["delivered"]
    stores[0].kept.pop()()
    room.settle()
    assert (len(calls), statuses(room)) == (1, ["delivered"])


def test_what_was_not_delivered_is_delivered_after_a_restart(durable: Any, spec: Spec) -> None:
    callback = Callback(ValueError("boom"))
    durable.open(spec(Trigger("a"), on_trigger=callback, every=None))
    durable.sensors.poll("orders")
    durable.settle()
    durable.close()
    durable.clock.advance("1h")
    durable.open()
    assert [event.partition for event in callback.events] == ["a"]


def test_a_call_in_progress_over_a_crash_is_not_overlapped(room: Any, spec: Spec) -> None:
    gate, begun, twice, calls = threading.Event(), threading.Event(), threading.Event(), list[str]()

    def slow(event: TriggerEvent) -> None:
        calls.append("begun")
        begun.set()
        gate.wait(20)
        calls.append("ended")
        if len(calls) == 4:
            twice.set()

    room.open(spec(Trigger("a"), on_trigger=slow))
    room.sensors.poll("orders")
    assert begun.wait(5)
    crash(room.deliveries)
    room.system.start(Deliveries, room.services, room.sensors._book)
    deliver_soon(room.services)
    room.settle()
    assert calls == ["begun"]
    gate.set()
    assert twice.wait(5)
    room.settle()
    assert calls == ["begun", "ended", "begun", "ended"]
    assert statuses(room) == ["delivered"]


def test_deliveries_of_a_sensor_that_left_wait_for_its_return(room: Any, spec: Spec) -> None:
    callback = Callback(ValueError("boom"))
    made = spec(Trigger("a"), on_trigger=callback)
    room.open(made)
    room.sensors.poll("orders")
    room.settle()
    room.sensors.remove("orders")
    room.clock.advance("1m")
    assert callback.calls == 1
    with pytest.raises(SensorNotFound):
        room.sensors.deliveries("orders")
    room.sensors.add(made)
    deliver_soon(room.services)
    room.settle()
    assert callback.calls == 2


def test_deliveries_of_a_definition_without_a_callback_wait(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("a"), on_trigger=Callback(ValueError("boom"))))
    room.sensors.poll("orders")
    room.settle()
    room.sensors.remove("orders")
    room.sensors.add(spec())
    room.clock.advance("1m")
    assert statuses(room) == ["pending"]


def test_a_status_that_does_not_exist_is_refused(room: Any, spec: Spec) -> None:
    room.open(spec())
    with pytest.raises(ValidationError, match="pending, delivered, failed"):
        room.sensors.deliveries("orders", status="done")


def test_a_message_that_means_nothing_is_ignored(room: Any) -> None:
    room.open()
    assert room.deliveries.ask("nonsense", timeout=5) is None


def test_telling_deliveries_that_are_gone_is_harmless(room: Any) -> None:
    room.open()
    room.deliveries.stop()
    deliver_soon(room.services)
    room.services.directory.clear()
    deliver_soon(room.services)


def test_a_stopped_executor_leaves_the_gate_open(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("a"), on_trigger=Callback(ValueError("boom")), every=None))
    room.sensors.poll("orders")
    room.settle()
    room.polls.stop(0)
    room.clock.advance("1m")
    assert not room.deliveries.is_alive()
    assert room.sensors._book.gate("sensor orders delivery").enter(lambda: None)
