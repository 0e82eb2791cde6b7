"""Definitions of sensors: what is accepted, what is refused where it is written."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from flowstone.core.asset import Asset
from flowstone.errors import ValidationError
from flowstone.sensors import FileArrival, NoTrigger, Sensor, SensorSpec
from flowstone.sensors.configuration import presentable


class Queue(Sensor):
    def __init__(self, url: str, *, api_token: str | None = None, limit: float = 1.0, hook: Any = None) -> None:
        self.url = url
        self._api_token = api_token
        self.limit = limit
        self.hook = hook
        self.volatile = object()

    def poll(self, state: Any) -> Any:
        return NoTrigger()


@dataclass(frozen=True, slots=True)
class Frozen(Sensor):
    folder: Path
    rest: tuple[Any, ...] = ()

    def poll(self, state: Any) -> Any:
        return NoTrigger()


class Greedy(Queue):
    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__("x")


def refused(**options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        SensorSpec("orders", Queue("x"), **options)
    return str(caught.value)


def test_a_definition_has_defaults() -> None:
    spec = SensorSpec("orders", Queue("x"))
    assert (spec.name, spec.type, spec.poll_interval, spec.target) == ("orders", Queue, None, "orders")
    assert (spec.timeout, spec.break_after, spec.max_abandoned) == (60.0, 20, 2)
    assert spec.location.startswith(__file__)


def test_durations_are_read() -> None:
    spec = SensorSpec("orders", Queue("x"), every="30s", timeout=timedelta(minutes=1))
    assert (spec.poll_interval, spec.timeout) == (30.0, 60.0)
    assert SensorSpec("orders", Queue("x"), every="1ms").poll_interval == 0.001


def test_an_asset_may_be_the_target() -> None:
    assert SensorSpec("orders", Queue("x"), target=Asset(lambda context: 1, name="raw")).target == "raw"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": "0.5ms"}, "at least 1ms"),
        ({"every": "often"}, "expected every to be seconds"),
        ({"every": True}, "expected every to be seconds"),
        ({"timeout": 0}, "expected timeout"),
        ({"timeout": None}, "expected timeout"),
        ({"break_after": 0}, "expected break_after to be an int of at least 1, got: 0"),
        ({"break_after": True}, "expected break_after"),
        ({"max_abandoned": 1.5}, "expected max_abandoned"),
        ({"target": ""}, "expected target"),
        ({"target": 7}, "expected target"),
        ({"partition": "day"}, "expected partition to be callable"),
        ({"poll_interval": 3}, "did you mean 'every'"),
        ({"evry": 3}, "did you mean 'every'"),
        ({"on_trigger": "print"}, "expected on_trigger to be callable"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], said: str) -> None:
    assert said in refused(**options)


@pytest.mark.parametrize("name", ["", "a b", "-x", 7, None, "x" * 129])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(ValidationError, match="sensor name"):
        SensorSpec(name, Queue("x"))


def test_what_is_no_sensor_is_refused() -> None:
    with pytest.raises(ValidationError, match="to be a Sensor, got: 'files'"):
        SensorSpec("orders", "files")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ValidationError, match="make one: Queue"):
        SensorSpec("orders", Queue)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ValidationError, match="to be a Sensor"):
        SensorSpec("orders", dict)  # type: ignore[arg-type]  # what the test is about


def test_the_configuration_is_the_constructors_parameters_with_secrets_masked() -> None:
    sensor = Queue("postgresql://ann:hunter2@host/db?password=x&a=b", api_token="abc", hook=refused)
    assert SensorSpec("orders", sensor).config == {
        "url": "postgresql://ann:***@host/db?password=***&a=b",
        "api_token": "***",
        "limit": 1.0,
        "hook": f"{__name__}.refused",
    }


def test_a_secret_that_is_not_given_shows_as_none() -> None:
    assert SensorSpec("orders", Queue("x")).config["api_token"] is None


def test_a_dataclass_may_be_a_sensor() -> None:
    sensor = Frozen(folder=Path("/data"), rest=(date(2025, 1, 15), timedelta(seconds=30)))
    assert SensorSpec("orders", sensor).config == {"folder": "/data", "rest": ["2025-01-15", "30s"]}


def test_parameters_that_are_kept_nowhere_are_left_out() -> None:
    assert SensorSpec("orders", Greedy(1, a=2)).config == {}


def test_what_json_has_no_form_for_is_shown_by_name() -> None:
    deep: dict[str, Any] = {}
    deep["self"] = deep
    assert presentable(object()) == "builtins.object"
    assert presentable(float("inf")) == "inf"
    assert presentable({"password": "x", "plain": [True, 1.5, None]}) == {"password": "***", "plain": [True, 1.5, None]}
    assert presentable(timedelta(seconds=-1)) == "-1 day, 23:59:59"
    assert "builtins.dict" in str(presentable(deep))


def test_the_definition_is_stable_and_blind_to_secrets() -> None:
    def definition(token: str, **options: Any) -> str:
        return SensorSpec("orders", Queue("x", api_token=token), **options).definition()

    assert definition("a") == definition("b")
    assert definition("a") != definition("a", every="1s")
    assert definition("a", partition=str) != definition("a")


def test_a_file_sensor_shows_its_configuration() -> None:
    assert SensorSpec("files", FileArrival("/data", pattern="*.csv")).config == {
        "path": "/data",
        "pattern": "*.csv",
        "existing": "trigger",
        "watch": False,
        "partition": None,
        "recursive": False,
        "settle": 0.05,
    }


def test_a_dedupe_scope_is_forever_unless_given() -> None:
    assert str(SensorSpec("orders", Queue("x")).dedupe) == "forever"
    windowed = SensorSpec("orders", Queue("x"), dedupe="window:24h")
    assert str(windowed.dedupe) == "window:1d"
    assert windowed.definition() != SensorSpec("orders", Queue("x")).definition()
    assert "expected dedupe to be" in refused(dedupe="once")
