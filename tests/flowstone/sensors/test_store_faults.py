"""Failures of the store: the work is kept and tried again under the same keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from actors.testing import assert_actor_state
from flowstone.errors import StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.sensors import NoTrigger, Poll, Push, SensorSpec, Trigger
from flowstone.sensors.definitions import define
from flowstone.sensors.messages import Called
from flowstone.sensors.rows import Fault
from flowstone.sensors.supervisor import Mark
from flowstone.state.database import Database
from flowstone.state.store_actor import StoreChanged

Spec = Callable[..., SensorSpec]
DOWN: Outcome[Any] = Outcome(error=StoreUnavailable("the store is down"))


class Faulty:
    """A store that fails as often as it is told: before a read, before a commit, or after one, whose answer is lost."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.faults: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def fails(self, where: str) -> bool:
        if not self.faults[where]:
            return False
        self.faults[where] -= 1
        return True

    def write(self, transaction: Any, then: Any) -> None:
        if self.fails("before"):
            self.database.write(lambda c: None, lambda outcome: then(DOWN))
        elif self.fails("after"):
            self.database.write(transaction, lambda outcome: then(DOWN))
        else:
            self.database.write(transaction, then)

    def read_later(self, query: Any, then: Any) -> None:
        if self.fails("read"):
            self.database.read_later(lambda c: None, lambda outcome: then(DOWN))
        else:
            self.database.read_later(query, then)


@pytest.mark.parametrize("where", ["read", "before", "after"])
def test_a_poll_that_the_store_refuses_is_committed_once_when_it_is_back(room: Any, spec: Spec, where: str) -> None:
    made = spec(Trigger("a", state=1))
    room.open(made, through=Faulty)
    room.services.database.faults[where] = 5
    answer = room.sensors.ref("orders").ask(Poll(), block=False)
    room.settle()
    assert not answer.done
    room.clock.advance("3s")
    evaluation = answer.get(timeout=5)
    assert (evaluation.status, evaluation.request_count) == ("triggered", 1)
    assert room.statuses() == ["triggered"]
    assert (len(made.sensor.states), room.sensors.get("orders").state_version) == (1, 1)
    assert room.published == [("sensor_triggered", "orders", "a")]


def test_ten_minutes_without_a_store_lose_nothing(room: Any, spec: Spec) -> None:
    made = spec(Trigger("a", state=1), NoTrigger(state=2))
    room.open(made, through=Faulty)
    room.services.database.faults["before"] = 1200
    room.clock.advance("10m")
    assert (len(made.sensor.states), room.statuses()) == (1, [])
    room.clock.advance("2m")
    assert room.statuses()[0] == "triggered"
    assert room.sensors.get("orders").state == 2


@pytest.mark.parametrize("where", ["read", "before", "after"])
def test_the_first_state_is_stored_when_the_store_is_back(room: Any, spec: Spec, where: str) -> None:
    calls: list[int] = []

    def first() -> int:
        calls.append(1)
        return len(calls)

    def through(database: Database) -> Faulty:
        faulty = Faulty(database)
        faulty.faults[where] = 3
        return faulty

    room.open(spec(first=first), through=through)
    room.clock.advance("5s")
    assert room.sensors.get("orders").state == 1
    assert calls == [1]


def test_a_mark_of_a_broken_sensor_is_written_when_the_store_is_back(room: Any, spec: Spec) -> None:
    room.open(spec(), through=Faulty)
    room.services.database.faults["before"] = 2
    room.supervisor.tell(Mark("orders", broken=True))
    room.supervisor.tell(Mark("gone", broken=True))
    room.clock.advance("2s")
    assert room.sensors.get("orders").faults == {Fault.CRASHES}


def test_what_is_no_failure_of_the_store_crashes_the_actor_alone(room: Any, spec: Spec) -> None:
    room.open(spec(), spec(name="other"))
    room.database.transact(lambda c: c.execute("delete from sensor where name = 'orders'"))
    room.clock.advance("30s")
    assert room.statuses("other") == ["no_trigger"]


def test_other_processes_commits_are_looked_at(room: Any, spec: Spec) -> None:
    room.open(spec(every=None), spec(name="other", every=None), through=Faulty)
    cursor = '{"v":1,"type":"Scripted","state":8}'
    change = "update sensor set cursor = :cursor, state_version = 1 where name = 'orders'"
    room.database.transact(lambda c: c.execute(change, cursor=cursor))
    room.services.database.faults["read"] = 1
    room.system.pubsub.publish("store", StoreChanged())
    room.settle()
    assert_actor_state(room.sensors.ref("orders"), lambda s: s.state is None)
    room.system.pubsub.publish("store", StoreChanged())
    room.settle()
    assert_actor_state(room.sensors.ref("orders"), lambda s: s.state == 8)
    assert_actor_state(room.sensors.ref("other"), lambda s: s.state is None)


def test_rows_of_sensors_that_are_not_here_are_passed_over(room: Any, spec: Spec) -> None:
    room.open(spec())
    room.database.transact(lambda c: define(c, spec(name="elsewhere"), actor="ann", now=room.clock.now()))
    room.system.pubsub.publish("store", StoreChanged())
    room.settle()
    assert room.sensors.poll("orders").status == "no_trigger"


class Held:
    """A store whose reads are answered when the test says so."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.held: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    def read_later(self, query: Any, then: Any) -> None:
        if self.held is None:
            self.database.read_later(query, then)
        else:
            self.held.append(lambda: then(Outcome(value=self.database.read(query))))


def test_answers_that_come_too_late_are_nobodys(room: Any, spec: Spec) -> None:
    room.open(spec(), through=Held)
    room.services.database.held = []
    room.system.pubsub.publish("store", StoreChanged())
    room.sensors.ref("orders").tell(Poll())
    room.settle()
    room.supervisor.stop()
    answers = room.services.database.held
    assert len(answers) == 2
    for answer in answers:
        answer()
    assert room.statuses() == []


def test_the_outcome_of_an_earlier_call_is_dropped_and_counted(room: Any, spec: Spec) -> None:
    room.open(spec())
    ref = room.sensors.ref("orders")
    ref.tell(Called(17, Outcome(value=Trigger("stale"))))
    room.settle()
    assert_actor_state(ref, lambda s: s.stale_outcomes == 1)
    assert room.statuses() == []


def test_a_delivery_whose_end_the_store_refuses_is_not_called_again(room: Any, spec: Spec) -> None:
    calls: list[Any] = []

    def callback(event: Any) -> None:
        calls.append(event)
        room.services.database.faults["before"] = 3

    room.open(spec(Trigger("a"), on_trigger=callback, every=None), through=Faulty)
    room.sensors.poll("orders")
    room.clock.advance("5s")
    assert [delivery.status for delivery in room.sensors.deliveries("orders")] == ["delivered"]
    assert len(calls) == 1


def test_deliveries_are_looked_for_when_the_store_is_back(room: Any, spec: Spec) -> None:
    calls: list[Any] = []
    room.open(SensorSpec("orders", Push(), on_trigger=calls.append), through=Faulty)
    room.services.database.faults["read"] = 3
    room.sensors.push("orders", "a", message_id="m")
    room.settle()
    assert calls == []
    room.clock.advance("5s")
    assert len(calls) == 1
