"""What a sensor may ask of the runtime around it: its time, what it has committed, the log of assets, an early poll."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.sensors import Arrival, NoTrigger, PollError, Sensor, SensorSpec, Trigger
from flowstone.sensors.surroundings import ALONE, Surroundings


class Looking(Sensor):
    """Keeps the surroundings of each call."""

    lookback = 100.0

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.seen: list[Surroundings] = []

    def within(self, surroundings: Surroundings) -> Looking:
        self.seen.append(surroundings)
        return copy.copy(self)

    def poll(self, state: Any) -> Any:
        return self.answers.pop(0) if self.answers else NoTrigger()


@pytest.fixture
def looking() -> Callable[..., SensorSpec]:
    """Makes a definition of sensor `orders` that keeps its surroundings."""

    def make(*answers: Any, **options: Any) -> SensorSpec:
        return SensorSpec("orders", Looking(*answers), **{"every": "30s", "target": "raw", **options})

    return make


@pytest.fixture
def backend() -> str:
    """One backend: that of actors makes no difference here."""
    return "greenlets"


@pytest.fixture(params=["memory", "postgresql"])
def store_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of an empty store, of each dialect."""
    return make_store_url(request.param)


def around(room: Any) -> Surroundings:
    sensor: Any = room.specs[0].sensor
    found: Surroundings = sensor.seen[-1]
    return found


def test_a_sensor_alone_has_a_clock_and_nothing_else() -> None:
    assert ALONE.now().tzinfo is not None
    assert ALONE.known(["a"]) == frozenset()
    assert ALONE.events("raw", 0, 10) is None
    assert ALONE.last_event("raw") == 0
    ALONE.wake()


def test_a_sensor_sees_the_time_and_what_it_committed(room: Any, looking: Callable[..., SensorSpec]) -> None:
    room.open(looking(Trigger(Arrival("p", key="a"), Arrival("q", key="b" * 9000))))
    room.sensors.poll("orders")
    assert around(room).now() == room.clock.now()
    assert around(room).known(["a", "b" * 9000, "c"]) == {"a", "b" * 9000}
    assert around(room).known([]) == frozenset()
    assert around(room).known([f"k{n}" for n in range(1200)] + ["a"]) == {"a"}


def test_what_is_about_to_be_forgotten_is_not_known(room: Any, looking: Callable[..., SensorSpec]) -> None:
    again = Trigger(Arrival("p", key="a"))
    room.open(looking(again, again, every=None))
    room.sensors.poll("orders")
    room.clock.advance(51)
    assert around(room).known(["a"]) == frozenset()
    assert room.sensors.poll("orders").status == "no_trigger"
    assert around(room).known(["a"]) == {"a"}


def test_the_rest_is_taken_at_once(room: Any, looking: Callable[..., SensorSpec]) -> None:
    room.open(looking(Trigger("a", state=1, again=True), NoTrigger(state=2, again=True), Trigger("b")))
    room.clock.advance(30)
    assert room.statuses() == ["triggered", "no_trigger", "triggered"]
    assert {row.at for row in room.sensors.history("orders")} == {room.clock.now()}
    room.clock.advance(30)
    assert room.statuses()[3:] == ["no_trigger"]


def test_without_an_interval_the_rest_waits_for_the_next_poll(room: Any, looking: Callable[..., SensorSpec]) -> None:
    room.open(looking(Trigger("a", again=True), Trigger("b"), every=None))
    room.sensors.poll("orders")
    room.settle()
    assert room.statuses() == ["triggered"]


def test_while_there_is_more_nothing_is_forgotten(room: Any, looking: Callable[..., SensorSpec]) -> None:
    first, more = Trigger(Arrival("p", key="old")), Trigger(Arrival("q", key="new"), again=True)
    room.open(looking(first, more, Trigger(Arrival("p", key="old")), Trigger(Arrival("r", key="r")), every=None))
    room.sensors.poll("orders")
    room.clock.advance(1000)
    assert [room.sensors.poll("orders").request_count for _ in range(3)] == [1, 0, 1]


def test_a_service_that_asks_to_stay_away_is_obeyed(durable: Any, looking: Callable[..., SensorSpec]) -> None:
    room = durable.open(looking(PollError("busy", code="http_status:429", retry_after=500)))
    room.clock.advance(30)
    assert room.statuses() == ["error"]
    room.clock.advance(200)
    clock = room.clock
    room.close()
    room.clock = clock
    room.open()
    room.clock.advance(250)
    assert room.statuses() == ["error"]
    room.clock.advance(60)
    assert room.statuses() == ["error", "no_trigger"]


def test_nobody_asks_for_more_than_a_day(room: Any, looking: Callable[..., SensorSpec]) -> None:
    room.open(looking(PollError("busy", retry_after=1e9), every="1s"))
    room.clock.advance(1)
    room.clock.advance(86_399)
    assert room.statuses() == ["error"]
    room.clock.advance(2)
    assert room.statuses()[:2] == ["error", "no_trigger"]


def test_a_sensor_may_ask_for_a_poll_before_its_time(room: Any, looking: Callable[..., SensorSpec]) -> None:
    room.open(looking(NoTrigger(), PollError("down")))
    around(room).wake()
    room.settle()
    assert room.statuses() == ["no_trigger"]
    around(room).wake()
    room.settle()
    around(room).wake()
    room.settle()
    assert room.statuses() == ["no_trigger", "error"]
