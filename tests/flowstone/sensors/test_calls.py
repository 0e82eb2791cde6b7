"""The calls about sensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.errors import AssetNotFound, ExecutionError, SensorNotFound, TimeoutExceeded, ValidationError
from flowstone.sensors import NoTrigger, Poll, PollError, Push, SensorSpec, Trigger
from flowstone.state.fields import json_value

Spec = Callable[..., SensorSpec]


def test_a_row_shows_what_the_definition_says(room: Any, spec: Spec) -> None:
    room.open(spec(first={"seen": 0}))
    row = room.sensors.get("orders")
    assert (row.name, row.kind, row.status, row.reason, row.poll_interval) == ("orders", "poll", "active", None, 30.0)
    assert row.cursor == {"v": 1, "type": "Scripted", "state": {"seen": 0}}
    assert (row.state, row.state_version, row.consecutive_failures) == ({"seen": 0}, 0, 0)
    assert room.sensors.list() == (row,)


@pytest.mark.parametrize("call", ["get", "ref", "poll", "pause", "resume", "history", "remove"])
def test_an_unknown_name_is_refused_with_a_suggestion(room: Any, spec: Spec, call: str) -> None:
    room.open(spec())
    with pytest.raises(SensorNotFound, match="did you mean 'orders'"):
        getattr(room.sensors, call)("oders")


@pytest.mark.parametrize("call", ["ref", "poll", "push", "reset", "remove", "definition"])
@pytest.mark.parametrize("given", [5, None, b"orders", ["orders"]])
def test_what_is_no_name_is_no_sensor(room: Any, spec: Spec, call: str, given: object) -> None:
    room.open(spec())
    more = {"push": ("message",), "reset": (None,)}.get(call, ())
    with pytest.raises(SensorNotFound, match="not found"):
        getattr(room.sensors, call)(given, *more)
    assert room.statuses() == []


def test_an_unknown_name_is_refused_by_reset_and_rewind(room: Any, spec: Spec) -> None:
    room.open(spec())
    with pytest.raises(SensorNotFound):
        room.sensors.reset("oders", 1)
    with pytest.raises(SensorNotFound):
        room.sensors.rewind("oders", to="x")


def test_a_poll_may_be_waited_for_so_long_and_no_longer(room: Any, spec: Spec) -> None:
    gate = threading.Event()

    def hang(state: Any) -> Any:
        gate.wait(20)
        return NoTrigger()

    room.open(spec(hang))
    with pytest.raises(TimeoutExceeded, match="it goes on"):
        room.sensors.poll("orders", timeout="50ms")
    gate.set()
    assert room.sensors.poll("orders", timeout=5).status == "no_trigger"
    assert room.statuses() == ["no_trigger", "no_trigger"]


def test_reset_takes_the_bare_state(room: Any, spec: Spec) -> None:
    made = spec(first=0)
    room.open(made)
    assert room.sensors.reset("orders", {"seen": 7}).state == {"seen": 7}
    room.sensors.poll("orders")
    assert made.sensor.states == [{"seen": 7}]


def test_reset_to_none_is_what_init_gives(room: Any, spec: Spec) -> None:
    made = spec(NoTrigger(state=5), first=lambda: 1)
    room.open(made)
    room.sensors.poll("orders")
    assert room.sensors.reset("orders", None).state == 1
    room.sensors.poll("orders")
    assert made.sensor.states == [1, 1]


def test_a_reset_to_an_init_that_fails_changes_nothing(room: Any, spec: Spec) -> None:
    answers: list[Any] = [3]

    def first() -> Any:
        if answers:
            return answers.pop()
        raise ValueError("boom")

    room.open(spec(first=first))
    with pytest.raises(ExecutionError, match="raised ValueError: boom") as caught:
        room.sensors.reset("orders", None)
    assert isinstance(caught.value.__cause__, ValueError)
    assert (room.sensors.get("orders").state, room.sensors.get("orders").state_version) == (3, 0)


def test_a_state_that_is_no_json_is_refused(room: Any, spec: Spec) -> None:
    room.open(spec(first=3))
    with pytest.raises(ValidationError, match="to be JSON"):
        room.sensors.reset("orders", (1, 2))
    assert room.sensors.get("orders").state == 3


def test_rewind_goes_back_to_what_an_evaluation_left(room: Any, spec: Spec) -> None:
    made = spec(Trigger("a", state=1), Trigger("b", state=2), Trigger("b", state=2))
    room.open(made)
    first = room.sensors.poll("orders")
    second = room.sensors.poll("orders")
    assert room.sensors.rewind("orders", to=first.eval_id).state == 1
    third = room.sensors.poll("orders")
    assert made.sensor.states == [None, 1, 1]
    assert set(third.run_ids).isdisjoint(second.run_ids)
    with pytest.raises(ValidationError, match="eval_id"):
        room.sensors.rewind("orders", to="eval_x")


def test_rewind_to_a_push_is_refused_and_the_cursor_stays(room: Any) -> None:
    room.open(SensorSpec("orders", Push(), target="raw"))
    room.sensors.reset("orders", {"seen": 4})
    pushed = room.sensors.push("orders", {"day": 1}, message_id="m1")
    before = room.sensors.get("orders")
    with pytest.raises(ValidationError, match=f"{pushed.eval_id} is of a message that was pushed.*eval_id of a poll"):
        room.sensors.rewind("orders", to=pushed.eval_id)
    assert room.sensors.get("orders") == before


def test_each_poll_that_was_asked_for_is_in_the_audit_and_the_timers_are_not(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("a"), PollError("x")))
    asked = [room.sensors.poll("orders", by="ann"), room.sensors.ref("orders").ask(Poll(by="bob"), timeout=20)]
    room.sensors.pause("orders")
    asked.append(room.sensors.poll("orders", by="cleo"))
    room.sensors.resume("orders")
    room.clock.advance(60)
    rows = room.database.read(
        lambda c: c.execute("select actor, details from audit where event_type = 'sensor.polled' order by id")
    )
    assert [row.actor for row in rows] == ["ann", "bob", "cleo"]
    assert [json_value(row.details)["eval_id"] for row in rows] == [each.eval_id for each in asked]
    with pytest.raises(ValidationError, match="expected by"):
        room.sensors.poll("orders", by="")


def test_history_pages_and_filters(room: Any, spec: Spec) -> None:
    room.open(spec(Trigger("a"), PollError("x")))
    for _ in range(4):
        room.sensors.poll("orders")
    page = room.sensors.history("orders", limit=3)
    assert [row.status for row in page] == ["no_trigger", "no_trigger", "error"]
    assert [row.status for row in room.sensors.history("orders", cursor=page.next_cursor)] == ["triggered"]
    assert len(room.sensors.history("orders", status="error", since=room.clock.now())) == 1
    with pytest.raises(ValidationError, match="expected status to be one of triggered, no_trigger"):
        room.sensors.history("orders", status="trigered")


def test_add_takes_what_a_definition_takes(room: Any, scripted: Any) -> None:
    room.open()
    assert room.sensors.add("more", scripted(), every="1m", target="raw").poll_interval == 60.0
    with pytest.raises(ValidationError, match="the sensor defined at"):
        room.sensors.add("more", scripted(), target="raw")
    with pytest.raises(ValidationError, match="to be a Sensor, got: None"):
        room.sensors.add("less", target="raw")
    with pytest.raises(ValidationError, match="does not take 'every'"):
        room.sensors.add(SensorSpec("less", scripted(), target="raw"), every="1m")
    with pytest.raises(ValidationError, match="a SensorSpec alone"):
        room.sensors.add(SensorSpec("less", scripted(), target="raw"), scripted())
    with pytest.raises(AssetNotFound, match="rwa"):
        room.sensors.add("less", scripted(), target="rwa")
    with pytest.raises(AssetNotFound):
        room.sensors.add("less", scripted())
    assert [row.name for row in room.sensors.list()] == ["more"]


def test_an_addition_that_can_not_be_stored_leaves_no_trace(
    room: Any, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.open()
    monkeypatch.setattr("flowstone.sensors.calls.define", lambda connection, **values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        room.sensors.add(spec())
    monkeypatch.undo()
    assert room.sensors.add(spec()).status == "active"


def test_who_acts_is_written_down(room: Any, spec: Spec) -> None:
    room.open(spec())
    room.sensors.pause("orders", by="ann")
    rows = room.database.read(lambda c: c.execute("select actor, event_type from audit order by id"))
    assert [tuple(row) for row in rows] == [("code", "sensor.created"), ("ann", "sensor.paused")]
    with pytest.raises(ValidationError, match="expected by"):
        room.sensors.resume("orders", by="")
