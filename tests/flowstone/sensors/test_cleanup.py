"""Cleaning up: with the last committed state, under the timeout, never past the shutdown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors import Future
from flowstone.sensors import NoTrigger, Poll, Sensor, SensorSpec
from flowstone.sensors.book import PollGate, SensorBook
from flowstone.sensors.cleanup import clean_up

Spec = Callable[..., SensorSpec]


class Plain(Sensor):
    def poll(self, state: Any) -> Any:
        return NoTrigger()


def test_a_sensor_without_a_cleanup_is_not_called(room: Any) -> None:
    room.open()
    clean_up(room.polls, SensorSpec("orders", Plain()), PollGate(), None, Future())


def test_a_sensor_that_never_began_is_not_cleaned_up(room: Any, spec: Spec) -> None:
    made = spec(first=ValueError("boom"))
    room.open(made)
    room.close()
    assert made.sensor.cleaned == []


def test_an_async_cleanup_is_awaited(room: Any, spec: Spec) -> None:
    made = spec()
    cleaned: list[Any] = []

    async def cleanup(state: Any) -> None:
        cleaned.append(state)

    made.sensor.cleanup = cleanup
    room.open(made)
    room.close()
    assert cleaned == [None]


def test_a_cleanup_that_raises_is_reported_and_the_sensor_stops(
    room: Any, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    made = spec()

    def cleanup(state: Any) -> None:
        raise ValueError("boom")

    made.sensor.cleanup = cleanup
    room.open(made)
    room.sensors.remove("orders")
    assert "cleanup of sensor orders failed: ValueError('boom')" in caplog.text


def test_a_cleanup_waits_for_the_poll_in_progress(room: Any, spec: Spec) -> None:
    refused = threading.Event()

    class Signalling(PollGate):
        def enter(self, opened: Callable[[], None]) -> bool:
            entered = super().enter(opened)
            if not entered:
                refused.set()
            return entered

    room.open()
    made, gate = spec(), Signalling()
    assert gate.enter(lambda: None)
    cleaning = threading.Thread(target=clean_up, args=(room.polls, made, gate, 7, Future()))
    cleaning.start()
    assert refused.wait(5)
    assert made.sensor.cleaned == []
    gate.leave()
    cleaning.join()
    assert made.sensor.cleaned == [7]


def test_a_cleanup_that_hangs_does_not_hold_up_the_stop(
    room: Any, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowstone.sensors.cleanup._PATIENCE", 0.05)
    gate = threading.Event()
    made = spec()
    made.sensor.cleanup = lambda state: gate.wait(20)
    room.open(made)
    room.sensors.remove("orders")
    gate.set()
    assert room.sensors.list() == ()


def test_a_cleanup_after_the_executor_has_stopped_is_given_up(
    room: Any, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    room.open(spec())
    room.polls.stop(0)
    room.sensors.remove("orders")
    assert "RuntimeStopped" in caplog.text


def test_a_poll_after_the_executor_has_stopped_leaves_the_gate_open(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    room.polls.stop(0)
    with pytest.raises(Exception, match="is stopped"):
        room.sensors.ref("orders").ask(Poll(), timeout=5)
    gate = room.sensors._book.gate("orders")
    assert gate.enter(lambda: None)
    gate.leave()


def test_a_gate_lets_one_in_and_tells_the_newest_who_waits() -> None:
    gate, told = PollGate(), list[str]()
    assert gate.enter(lambda: told.append("never"))
    assert not gate.enter(lambda: told.append("first"))
    assert not gate.enter(lambda: told.append("second"))
    gate.leave()
    assert told == ["second"]
    assert gate.enter(lambda: None)


def test_a_book_refuses_a_name_twice(spec: Spec) -> None:
    with pytest.raises(Exception, match="expected another name than 'orders'"):
        SensorBook([spec(), spec()])
