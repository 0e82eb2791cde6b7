"""The fixtures of the plugin of pytest: a runtime that depends on nothing but its test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.config import Config, load
from flowstone.sensors import Sensor
from flowstone.testing import assert_materialized, sensor_contract

Start = Callable[..., fs.Runtime]
NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose environment and current directory say something of everything."""
    lines = ['store = "sqlite:///machine.db"', 'namespace = "prod"', "sensors = false", 'retention = "1h"']
    (tmp_path / "flowstone.toml").write_text("\n".join([*lines, "max_concurrency = 1"]))
    monkeypatch.chdir(tmp_path)
    for name, value in {"SCHEDULER": "off", "SECRET": "hidden", "IO_MANAGER": "s3", "MAX_QUEUE": "1"}.items():
        monkeypatch.setenv(f"FLOWSTONE_{name}", value)
    return tmp_path


@pytest.fixture
def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: 1, name="raw")
    made.schedule("hourly", cron="0 * * * *", target="raw", partition=lambda instant: None)
    return made


def test_the_configuration_of_the_machine_has_no_say(
    configured: Path, shop: fs.Pipeline, flowstone_runtime: Start, flowstone_clock: ManualClock
) -> None:
    runtime = flowstone_runtime(shop)
    settings, plain = runtime.settings, Config()
    assert (settings.url, settings.clock, settings.default_io) == ("memory://", flowstone_clock, "memory")
    assert (settings.identity.namespace, settings.identity.secret) == (plain.namespace, plain.secret)
    assert (settings.scheduler, settings.sensors, settings.retention) == (True, True, plain.retention)
    assert (settings.max_concurrency, settings.max_queue) == (plain.max_concurrency, plain.max_queue)
    flowstone_clock.advance("1h")
    assert_materialized(runtime, "raw", partition=None)
    assert [path.name for path in configured.iterdir()] == ["flowstone.toml"]


def test_a_file_that_is_wrong_is_not_even_read(
    configured: Path, shop: fs.Pipeline, flowstone_runtime: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (configured / "flowstone.toml").write_text("no toml")
    monkeypatch.setenv("FLOWSTONE_BACKEND", "fibers")
    assert flowstone_runtime(shop).materialize("raw").value == 1


def test_a_test_may_ask_for_the_configuration_of_the_machine(
    configured: Path, shop: fs.Pipeline, flowstone_runtime: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWSTONE_IO_MANAGER")
    settings = flowstone_runtime(shop, config=load()).settings
    assert (settings.url, settings.identity.namespace, settings.identity.secret) == ("memory://", "prod", "hidden")
    assert (settings.scheduler, settings.sensors) == (False, False)


def test_what_a_test_gives_wins(configured: Path, shop: fs.Pipeline, flowstone_runtime: Start) -> None:
    url = f"sqlite:///{configured}/own.db"
    runtime = flowstone_runtime(shop, store=url, scheduler=False, namespace="mine", io_manager="memory")
    assert (runtime.settings.url, runtime.settings.scheduler) == (url, False)
    record = runtime.materialize("raw", run_key="key")
    assert record.run_id == fs.run_id("key", namespace="mine")
    with fs.Client(shop, store=url, namespace="mine", config=Config()) as client:
        assert client.runs.get(record.run_id).status == "success"
        assert client.materialize_async("raw", run_key="key").run_id == record.run_id


def test_the_clock_stands_at_noon_until_the_test_moves_it(flowstone_clock: ManualClock) -> None:
    assert flowstone_clock.now() == NOON


def test_the_contract_of_sensors_is_the_same_on_every_machine(configured: Path) -> None:
    class Numbers(Sensor):
        def init(self) -> int:
            return 0

        def poll(self, state: int) -> fs.Trigger | fs.NoTrigger:
            new = [fs.Arrival(None, payload=number) for number in World.there[state:]]
            return fs.Trigger(*new, state=len(World.there)) if new else fs.NoTrigger()

    class World:
        there: list[int] = []

        def arrive(self, runtime: fs.Runtime, count: int) -> None:
            self.there.extend(range(count))

    sensor_contract(Numbers, World())


@pytest.mark.parametrize("config", [{}, "prod", {"namespace": "prod"}])
def test_what_is_no_configuration_is_refused(shop: fs.Pipeline, config: object) -> None:
    for make in (fs.Runtime, fs.Client):
        with pytest.raises(fs.ValidationError, match="expected config to be a Config"):
            make(shop, store="memory://", config=config)  # type: ignore[arg-type]  # what the test is about
