"""Definitions of the code and definitions made at run time, side by side on one store, over restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.testing import ScriptedSensor

Boot = Callable[..., fs.Runtime]
TIMED: dict[str, Any] = {"target": "report", "overlap": "allow", "misfire": "skip"}


def of_the_code(names: tuple[str, ...], every: str) -> fs.Pipeline:
    """What the code defines at present: an asset, and those of schedule `nightly` and sensor `feed` that it names."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="report")
    if "nightly" in names:
        shop.schedule("nightly", every=every, **TIMED)
    if "feed" in names:
        shop.sensor("feed", ScriptedSensor(0), every=every, target="report")
    return shop


@pytest.fixture(params=["greenlets", "threads"])
def boot(
    request: pytest.FixtureRequest, make_store_url: Callable[[str], str], flowstone_clock: ManualClock
) -> Iterator[Boot]:
    """Starts a service in place of the one before, on the same store."""
    url, running = make_store_url("sqlite"), list[fs.Runtime]()

    def start(*names: str, every: str = "1m") -> fs.Runtime:
        stop()
        options: dict[str, Any] = {"store": url, "io_manager": "memory", "clock": flowstone_clock}
        running.append(fs.Runtime(of_the_code(names, every), backend=request.param, **options))
        return running[0].start()

    def stop() -> None:
        while running:
            running.pop().stop()

    yield start
    stop()


def told(runtime: fs.Runtime) -> dict[str, tuple[str, int]]:
    """The schedules by name, each with its status and version."""
    return {row.name: (str(row.status), row.version) for row in runtime.schedules.list()}


def test_schedules_of_the_code_and_of_run_time_live_side_by_side(boot: Boot, flowstone_clock: ManualClock) -> None:
    runtime = boot("nightly")
    runtime.schedules.create("asked", every="1m", **TIMED)
    runtime.schedules.update("asked", metadata={"team": "data"})
    assert told(runtime) == {"asked": ("active", 2), "nightly": ("active", 1)}
    runtime = boot("nightly", every="2m")
    assert told(runtime) == {"asked": ("active", 2), "nightly": ("active", 2)}
    flowstone_clock.advance("2m")
    assert [len(runtime.schedules.history(name)) for name in ("asked", "nightly")] == [2, 1]


def test_a_schedule_that_left_the_code_is_shown_as_orphaned_and_never_fires(
    boot: Boot, flowstone_clock: ManualClock
) -> None:
    boot("nightly").schedules.create("asked", every="1m", **TIMED)
    flowstone_clock.advance("1m")
    runtime = boot()
    flowstone_clock.advance("1h")
    assert told(runtime) == {"asked": ("active", 1), "nightly": ("orphaned", 2)}
    assert len(runtime.schedules.history("nightly")) == 1
    assert len(runtime.schedules.history("asked")) == 61
    with pytest.raises(fs.ValidationError, match="never fires"):
        runtime.schedules.trigger("nightly")
    assert "schedule nightly is ok: orphaned" in "\n".join(map(str, runtime.health().parts))
    runtime = boot("nightly")
    assert told(runtime)["nightly"] == ("active", 3)
    flowstone_clock.advance("1m")
    rows = [(row.status, row.count) for row in runtime.schedules.history("nightly")]
    assert rows == [("triggered", 1), ("triggered", 1), ("missed", 59), ("triggered", 1)]


def test_a_sensor_that_left_the_code_is_shown_as_orphaned_and_never_polled(
    boot: Boot, flowstone_clock: ManualClock
) -> None:
    runtime = boot("feed")
    runtime.sensors.add("asked", ScriptedSensor(0), every="1m", target="report")
    runtime.sensors.reset("feed", 7)
    runtime = boot()
    flowstone_clock.advance("1h")
    rows = {row.name: (str(row.status), row.definition_version) for row in runtime.sensors.list()}
    assert rows == {"asked": ("orphaned", 1), "feed": ("orphaned", 1)}
    for name in ("feed", "asked"):
        assert runtime.sensors.history(name) == ()
        with pytest.raises(fs.SensorNotFound, match="has left the code"):
            runtime.sensors.poll(name)
    runtime = boot("feed", every="2m")
    runtime.sensors.add("asked", ScriptedSensor(0), every="1m", target="report")
    flowstone_clock.advance("2m")
    row = runtime.sensors.get("feed")
    assert (row.status, row.definition_version, row.state) == ("active", 2, 7)
    assert [len(runtime.sensors.history(name)) for name in ("feed", "asked")] == [2, 3]


def test_an_orphaned_sensor_may_be_removed_for_good(boot: Boot) -> None:
    boot("feed")
    runtime = boot()
    runtime.sensors.remove("feed")
    assert runtime.sensors.list() == ()
    with pytest.raises(fs.SensorNotFound, match="'feed' not found"):
        runtime.sensors.remove("feed")


def test_a_client_that_lacks_the_code_of_a_sensor_is_told_so(boot: Boot) -> None:
    runtime = boot("feed")
    with fs.Client(store=runtime.settings.url) as client:
        with pytest.raises(fs.SensorNotFound, match="'feed' is not in the code of this process"):
            client.sensors.poll("feed")
        with pytest.raises(fs.SensorNotFound, match="'feed' not found"):
            client.sensors.remove("feed")
        assert client.sensors.pause("feed").status == "paused"


def test_an_external_cron_drives_the_schedules_of_a_runtime_that_fires_none(
    flowstone_runtime: Boot, flowstone_clock: ManualClock
) -> None:
    runtime = flowstone_runtime(of_the_code(("nightly",), "1h"), scheduler=False)
    began = flowstone_clock.now()
    flowstone_clock.advance("3h")
    assert runtime.schedules.history("nightly") == ()
    instants = [each for each in fs.Cron("0 * * * *").between(began, flowstone_clock.now()) for _ in range(2)]
    ticks = [runtime.schedules.trigger("nightly", at=instant) for instant in instants]
    assert len(ticks) == 6
    assert len({tick.tick_id for tick in ticks}) == len(runtime.runs.list()) == 3
    assert {tick.status for tick in ticks} == {"triggered"}
    assert runtime.schedules.get("nightly").last_scheduled_for is None
    assert runtime.health().status == "ok"
