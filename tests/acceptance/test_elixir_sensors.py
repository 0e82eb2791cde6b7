"""The test cases of the Elixir design, sensors: each test bears the name of its case (see docs/elixir-map.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock, assert_actor_state, crash
from flowstone.sensors import FileArrival, TriggerEvent
from flowstone.testing import ScriptedSensor

Make = Callable[..., fs.Runtime]


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def triggered() -> list[Any]:
    """The partitions that the callback of `start` was called with."""
    return []


@pytest.fixture
def start(flowstone_runtime: Make, backend: str, triggered: list[Any]) -> Callable[..., fs.Runtime]:
    """Starts a runtime with one sensor, whose callback notes its partition."""

    def make(name: str, sensor: fs.Sensor, every: str) -> fs.Runtime:
        shop = fs.Pipeline("shop")
        shop.sensor(name, sensor, every=every, on_trigger=lambda event: triggered.append(event.partition))
        return flowstone_runtime(shop, backend=backend)

    return make


class TestTheLifecycleOfASensor:
    def test_initializes_sensor_with_config(self, start: Callable[..., fs.Runtime]) -> None:
        runtime = start("test_sensor", ScriptedSensor({"value": 42}), "10s")
        runtime.drain()
        ref = runtime.sensors.ref("test_sensor")
        assert_actor_state(ref, lambda worker: worker.name == "test_sensor" and worker.state == {"value": 42})

    def test_polls_sensor_on_interval(
        self, start: Callable[..., fs.Runtime], flowstone_clock: ManualClock, triggered: list[Any]
    ) -> None:
        sensor = ScriptedSensor({})
        sensor.set_next(fs.Trigger("test_partition", state={"polled": True}))
        start("polling_sensor", sensor, "50ms")
        flowstone_clock.advance("200ms")
        assert (sensor.polls, triggered) == (4, ["test_partition"])

    def test_handles_no_trigger_correctly(
        self, start: Callable[..., fs.Runtime], flowstone_clock: ManualClock, triggered: list[Any]
    ) -> None:
        sensor = ScriptedSensor({})
        sensor.set_next(fs.NoTrigger(state={"checked": True}))
        runtime = start("no_trigger_sensor", sensor, "50ms")
        flowstone_clock.advance("200ms")
        assert (sensor.polls, triggered) == (4, [])
        assert {row.status for row in runtime.sensors.history("no_trigger_sensor")} == {"no_trigger"}
        assert runtime.sensors.get("no_trigger_sensor").state == {"checked": True}

    @pytest.mark.parametrize("error", [fs.PollError("connection_failed"), ConnectionError("connection_failed")])
    def test_handles_sensor_errors_and_continues_polling(
        self, start: Callable[..., fs.Runtime], flowstone_clock: ManualClock, triggered: list[Any], error: Exception
    ) -> None:
        sensor = ScriptedSensor({})
        sensor.set_next(error, fs.Trigger("recovered", state={}))
        runtime = start("error_sensor", sensor, "50ms")
        ref = runtime.sensors.ref("error_sensor")
        flowstone_clock.advance("100ms")
        assert ref.is_alive()
        flowstone_clock.advance("100ms")
        assert triggered == ["recovered"]
        *_, second, first = runtime.sensors.history("error_sensor")
        assert (first.status, second.status) == ("error", "triggered")
        assert "connection_failed" in first.reason and first.cursor_after == first.cursor_before

    def test_updates_sensor_state_across_polls(
        self, start: Callable[..., fs.Runtime], flowstone_clock: ManualClock
    ) -> None:
        sensor = ScriptedSensor({"counter": 0})
        ref = start("stateful_sensor", sensor, "50ms").sensors.ref("stateful_sensor")
        for counter in (1, 2):
            sensor.set_next(fs.NoTrigger(state={"counter": counter}))
            flowstone_clock.advance("100ms")
            assert_actor_state(ref, lambda worker, wanted=counter: worker.state == {"counter": wanted})

    def test_handles_rapid_poll_intervals_without_race_conditions(
        self, flowstone_runtime: Make, backend: str, flowstone_clock: ManualClock
    ) -> None:
        shop = fs.Pipeline("shop")
        shop.sensor("rapid_sensor", Counting(), every="10ms", on_trigger=lambda event: None)
        runtime = flowstone_runtime(shop, backend=backend)
        ref = runtime.sensors.ref("rapid_sensor")
        flowstone_clock.advance("100ms")
        assert ref.is_alive()
        assert_actor_state(ref, lambda worker: worker.state == {"count": 10})
        assert [row.state_version_after for row in runtime.sensors.history("rapid_sensor")] == list(range(10, 0, -1))


class Counting(fs.Sensor):
    """Counts its own polls in its state."""

    def init(self) -> Any:
        return {"count": 0}

    def poll(self, state: Any) -> fs.NoTrigger:
        return fs.NoTrigger(state={"count": state["count"] + 1})


class TestTheLifecycleOfTheSupervisor:
    @pytest.fixture
    def supervised(self, flowstone_runtime: Make, backend: str) -> Callable[..., Any]:
        """Starts a runtime with sensors of these names and gives the ref of their supervisor."""

        def make(*names: str) -> Any:
            shop = fs.Pipeline("shop")
            for name in names:
                shop.sensor(name, ScriptedSensor(), every="1s", on_trigger=lambda event: None)
            return flowstone_runtime(shop, backend=backend).actor("services", "sensors")

        return make

    def test_starts_with_no_sensors(self, supervised: Callable[..., Any]) -> None:
        assert list(supervised().which_children()) == []

    def test_starts_multiple_sensor_workers(self, supervised: Callable[..., Any]) -> None:
        children = supervised("sensor1", "sensor2").which_children()
        assert [row.id for row in children] == ["sensor1", "sensor2"]

    def test_restarts_failed_sensor_workers(self, supervised: Callable[..., Any]) -> None:
        supervisor = supervised("restartable")
        ref = supervisor.child("restartable")
        (before,) = supervisor.which_children()
        crash(ref)
        (after,) = supervisor.which_children()
        assert ref.is_alive()
        assert (before.restarts, after.restarts) == (0, 1)


class TestTheDefinitionOfASensor:
    def test_defines_sensor_with_all_properties(self, tmp_path: Any) -> None:
        shop = fs.Pipeline("shop")
        made: list[Any] = []

        @shop.sensor("new_files", FileArrival(path=tmp_path, pattern="*.csv"), every="30s")
        def on_file(event: TriggerEvent) -> None:
            made.append(event.partition)

        (sensor,) = shop.sensors
        assert (sensor.name, sensor.type, sensor.poll_interval) == ("new_files", FileArrival, 30.0)
        assert sensor.on_trigger is on_file
        assert sensor.config["pattern"] == "*.csv"

    @pytest.mark.parametrize("bad", [object, object(), FileArrival, "FileArrival", None])
    def test_validates_sensor_module_implements_behaviour(self, bad: Any) -> None:
        shop = fs.Pipeline("shop")
        with pytest.raises(fs.ValidationError, match="to be a Sensor"):
            shop.sensor("bad", bad, every="1s", on_trigger=lambda event: None)
        assert shop.sensors == []

    def test_validates_that_a_sensor_can_be_polled(self) -> None:
        class Deaf(fs.Sensor):
            pass

        with pytest.raises(TypeError, match="poll"):
            Deaf()  # type: ignore[abstract]
