"""Sensors, rows and stores for the tests of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.partition_sets import Daily
from flowstone.sensors import NoTrigger, Sensor, SensorSpec
from flowstone.sensors.definitions import define
from flowstone.sensors.rows import SensorRow
from flowstone.state.database import Database

NOW = datetime(2025, 1, 15, 12, 0, tzinfo=UTC)


class Scripted(Sensor):
    """Answers what it was given, in turn: values are returned, exceptions raised, functions called with the state."""

    def __init__(self, *answers: Any, first: Any = None) -> None:
        self.answers = list(answers)
        self.first = first
        self.states: list[Any] = []
        self.cleaned: list[Any] = []

    def init(self) -> Any:
        if isinstance(self.first, Exception):
            raise self.first
        return self.first() if callable(self.first) else self.first

    def poll(self, state: Any) -> Any:
        self.states.append(state)
        answer = self.answers.pop(0) if self.answers else NoTrigger()
        if isinstance(answer, BaseException):
            raise answer
        return answer(state) if callable(answer) else answer

    def cleanup(self, state: Any) -> None:
        self.cleaned.append(state)


@pytest.fixture
def scripted() -> type[Scripted]:
    """A sensor that answers what it was given."""
    return Scripted


@pytest.fixture
def now() -> datetime:
    """The instant at which tests begin."""
    return NOW


@pytest.fixture
def catalog() -> Catalog:
    """Assets `raw` and `orders` without partitions, `days` by the day."""
    return Catalog(
        [
            Asset(lambda context: 1, name="raw"),
            Asset(lambda context: 1, name="orders"),
            Asset(lambda context: 1, name="days", partitions=Daily(start="2025-01-01", end="2025-12-31")),
        ]
    )


@pytest.fixture
def spec() -> Callable[..., SensorSpec]:
    """Makes a definition of sensor `orders` that answers what it is given."""

    def make(*answers: Any, name: str = "orders", first: Any = None, **options: Any) -> SensorSpec:
        return SensorSpec(name, Scripted(*answers, first=first), **{"every": "30s", "target": "raw", **options})

    return make


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in memory, and one in a file."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """An open store."""
    opened = Database.open(store_url)
    yield opened
    opened.close()


@pytest.fixture
def defined(database: Database) -> Callable[[SensorSpec], SensorRow]:
    """Writes a definition into the store and gives its row."""
    return lambda made: database.transact(lambda connection: define(connection, made, actor="ann", now=NOW))
