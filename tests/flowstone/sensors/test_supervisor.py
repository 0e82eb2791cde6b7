"""All sensors together: a restart budget each, added and removed while they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import ActorDeadError, ChildSpec, Supervisor
from actors.testing import crash
from flowstone.errors import ExecutionError, RuntimeStopped, SensorNotFound
from flowstone.sensors import NoTrigger, Poll, SensorSpec
from flowstone.sensors.backoff import CAP
from flowstone.sensors.supervisor import BUDGET, SensorSupervisor, tell_changed
from flowstone.state.store_actor import StoreChanged

Spec = Callable[..., SensorSpec]


def crash_too_often(room: Any, times: int = BUDGET.max_restarts + 1) -> None:
    for _ in range(times):
        crash(room.sensors.ref("orders"))
        room.settle()


def test_it_starts_with_no_sensors(room: Any) -> None:
    room.open()
    assert room.supervisor.which_children() == []


def test_each_sensor_is_an_actor_of_its_name(room: Any, spec: Spec) -> None:
    room.open(spec(), spec(name="other"))
    assert [child.id for child in room.supervisor.which_children()] == ["orders", "other"]


def test_a_sensor_past_its_restart_budget_is_broken_and_the_others_never_notice(room: Any, spec: Spec) -> None:
    made, other = spec(), spec(name="other")
    room.open(made, other)
    crash_too_often(room)
    row = room.sensors.get("orders")
    assert (row.status, row.reason) == ("broken", "crashes")
    room.clock.advance("5m")
    assert (len(made.sensor.states), len(other.sensor.states)) == (0, 10)
    with pytest.raises(ExecutionError, match="ended before it answered"):
        room.sensors.poll("orders")
    assert room.sensors.get("other").status == "active"


def test_a_sensor_broken_by_crashes_mends_after_a_quiet_time(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made)
    crash_too_often(room)
    room.clock.advance(CAP)
    assert room.sensors.get("orders").reason == "crashes"
    room.clock.advance(BUDGET.max_seconds)
    assert room.sensors.get("orders").status == "active"
    assert len(made.sensor.states) >= 1


def test_a_crash_in_the_quiet_time_begins_it_anew(room: Any, spec: Spec) -> None:
    room.open(spec())
    crash_too_often(room)
    room.clock.advance(CAP + 3)
    crash(room.sensors.ref("orders"))
    room.clock.advance("3s")
    assert room.sensors.get("orders").reason == "crashes"
    crash_too_often(room, BUDGET.max_restarts)
    room.clock.advance("10s")
    assert room.sensors.get("orders").reason == "crashes"
    room.clock.advance(CAP + 10)
    assert room.sensors.get("orders").status == "active"


def test_pause_wins_over_broken_by_crashes(room: Any, spec: Spec) -> None:
    room.open(spec())
    crash_too_often(room)
    assert room.sensors.pause("orders").status == "paused"
    assert room.sensors.resume("orders").reason == "crashes"


def test_a_commit_of_another_process_finds_sensors_without_an_actor(room: Any, spec: Spec) -> None:
    room.open(spec(), spec(name="other"))
    crash_too_often(room)
    room.database.transact(lambda c: c.execute("update sensor set state_version = 7"))
    room.system.pubsub.publish("store", StoreChanged())
    room.settle()
    assert room.sensors.poll("other").expected_state_version == 7


def test_a_supervisor_that_crashes_starts_the_same_sensors_again(room: Any, spec: Spec) -> None:
    made = spec()
    room.open(made, run=False)
    child = ChildSpec(SensorSupervisor, id="sensors", args=(room.services, room.sensors._book))
    room.system.start(Supervisor, children=[child])
    room.sensors.add(spec(name="added"))
    crash(room.services.directory["sensors"])
    room.settle()
    room.clock.advance("30s")
    assert room.statuses("orders") == room.statuses("added") == ["no_trigger"]


def test_a_sensor_is_added_while_the_others_run(room: Any, spec: Spec) -> None:
    room.open(spec())
    added = spec(name="added")
    assert room.sensors.add(added).status == "active"
    room.clock.advance("30s")
    assert room.statuses("added") == ["no_trigger"]
    assert [row.name for row in room.sensors.list()] == ["added", "orders"]


def test_a_sensor_that_only_calls_back_may_be_added(room: Any, scripted: Any) -> None:
    room.open()
    assert room.sensors.add("nobody", scripted(), on_trigger=print).status == "active"


def test_a_sensor_that_is_removed_cleans_up_and_is_gone(room: Any, spec: Spec) -> None:
    made = spec(NoTrigger(state=4))
    room.open(made)
    room.sensors.poll("orders")
    ref = room.sensors.ref("orders")
    room.sensors.remove("orders", by="ann")
    assert made.sensor.cleaned == [4]
    assert room.sensors.list() == ()
    with pytest.raises(ActorDeadError):
        ref.tell(Poll())
    for call in (room.sensors.get, room.sensors.ref, room.sensors.poll, room.sensors.remove, room.sensors.history):
        with pytest.raises(SensorNotFound):
            call("orders")
    room.clock.advance("5m")
    assert len(made.sensor.states) == 1


def test_a_sensor_that_is_added_again_goes_on_where_it_was(room: Any, spec: Spec) -> None:
    room.open(spec(NoTrigger(state=4)))
    room.sensors.poll("orders")
    room.sensors.remove("orders")
    again = spec()
    room.sensors.add(again)
    room.sensors.poll("orders")
    assert again.sensor.states == [4]


def test_a_broken_sensor_may_be_removed(room: Any, spec: Spec) -> None:
    room.open(spec())
    crash_too_often(room)
    room.sensors.remove("orders")
    room.clock.advance(CAP * 2)
    assert room.sensors.list() == ()


def test_a_runtime_without_sensors_still_answers_what_needs_no_actor(room: Any, spec: Spec) -> None:
    room.open(spec(), run=False)
    assert room.sensors.pause("orders").status == "paused"
    assert room.sensors.reset("orders", {"a": 1}).state == {"a": 1}
    room.sensors.add(spec(name="added"))
    for call in (room.sensors.poll, room.sensors.ref):
        with pytest.raises(RuntimeStopped, match="sensors=False"):
            call("orders")
    room.sensors.remove("added")
    tell_changed(room.services, "orders")


def test_calls_while_the_supervisor_is_gone(room: Any, spec: Spec) -> None:
    room.open(spec())
    room.supervisor.stop()
    assert room.sensors.pause("orders").status == "paused"
    room.sensors.add(spec(name="added"))
    with pytest.raises(RuntimeStopped, match="no actor at present"):
        room.sensors.ref("added")
    room.sensors.remove("added")
