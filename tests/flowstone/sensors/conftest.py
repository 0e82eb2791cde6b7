"""Sensors, rows and stores for the tests of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actors import System
from actors.testing import ManualClock
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.partition_sets import Daily
from flowstone.executors.threads import ThreadExecutor
from flowstone.io import MemoryIO
from flowstone.runs.services import Services
from flowstone.sensors import NoTrigger, Sensor, SensorSpec
from flowstone.sensors.book import SensorBook
from flowstone.sensors.calls import Sensors
from flowstone.sensors.definitions import define, define_all
from flowstone.sensors.deliveries import Deliveries
from flowstone.sensors.rows import SensorRow
from flowstone.sensors.supervisor import SensorSupervisor
from flowstone.state.database import Database
from flowstone.state.membership import Membership

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


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """A store in memory, and one in a file."""
    return make_store_url(request.param)


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


class Room:
    """A runtime's sensors alone: actors, executors and a store, on a manual clock."""

    def __init__(self, url: str, backend: str, catalog: Catalog) -> None:
        self.url, self.backend, self.catalog = url, backend, catalog
        self.clock = ManualClock(NOW)
        self.published: list[Any] = []
        self.specs: list[SensorSpec] = []
        self.system: System | None = None

    def open(
        self,
        *specs: SensorSpec,
        max_queue: int = 10_000,
        run: bool = True,
        through: Callable[[Database], Any] = lambda database: database,
    ) -> Room:
        """Start sensors; those that are given now stay defined for the next start."""
        self.specs = list(specs) or self.specs
        self.system = System(backend=self.backend, clock=self.clock, name="room")
        work = self.system.work
        self.database = Database.open(self.url, work=work)
        executors = [ThreadExecutor(name, clock=self.clock, work=work, threads=None) for name in ("assets", "polls")]
        self.polls = executors[1]
        self.services = Services(
            database=through(self.database),
            catalog=self.catalog,
            clock=self.clock,
            executor=executors[0],
            polls=self.polls,
            pubsub=self.system.pubsub,
            future=self.system.future,
            io={"memory": MemoryIO()},
            default_io="memory",
            membership=Membership("boot"),
            max_queue=max_queue,
        )
        book = SensorBook(self.specs)
        self.database.transact(lambda c: define_all(c, self.specs, actor="code", now=self.clock.now()))
        self.sensors = Sensors(self.services, book)
        self.system.pubsub.subscribe("sensors", self.published.append)
        if run:
            self.deliveries = self.system.start(Deliveries, self.services, book)
            self.supervisor = self.system.start(SensorSupervisor, self.services, book)
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        self.clock.advance(0)

    def close(self) -> None:
        """Stop in the order in which a runtime does."""
        if self.system is not None:
            self.system.stop()
            self.polls.stop(0)
            self.services.executor.stop(0)
            self.database.close()
            self.system = None

    def statuses(self, name: str = "orders") -> list[str]:
        """The statuses of a sensor's evaluations, oldest first."""
        return [str(row.status) for row in reversed(self.sensors.history(name))]


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    """Both backends of actors."""
    return str(request.param)


@pytest.fixture
def room(store_url: str, backend: str, catalog: Catalog) -> Iterator[Room]:
    """Sensors that run, on both backends and both stores."""
    made = Room(store_url, backend, catalog)
    yield made
    made.close()


@pytest.fixture
def durable(tmp_path: Path, backend: str, catalog: Catalog) -> Iterator[Room]:
    """Sensors whose store outlives them, to be closed and opened again."""
    made = Room(f"sqlite:///{tmp_path}/store.db", backend, catalog)
    yield made
    made.close()
