"""What the tests of schedules share: rows, and a world with a real store, real actors and a clock of its own."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from actors import ChildSpec, Supervisor, System
from actors.testing import ManualClock
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.partition_sets import Daily, Static
from flowstone.durations import seconds
from flowstone.executors.threads import ThreadExecutor
from flowstone.io import MemoryIO
from flowstone.runs.services import Services
from flowstone.schedules.calls import Schedules
from flowstone.schedules.rows import ScheduleRow, Tick
from flowstone.schedules.rules import Rules
from flowstone.schedules.schedule import Schedule
from flowstone.schedules.scheduler import Scheduler
from flowstone.schedules.store import register
from flowstone.state.database import Database
from flowstone.state.membership import Membership

START = datetime(2025, 1, 15, 2, 0, tzinfo=UTC)


@pytest.fixture
def start() -> datetime:
    """The instant at which schedules of tests are created, unless they say otherwise."""
    return START


@pytest.fixture(scope="session")
def row() -> Callable[..., ScheduleRow]:
    """A maker of rows: `row(every="1m", now=…)`, with the options of a schedule."""

    def make(now: datetime = START, **options: Any) -> ScheduleRow:
        return ScheduleRow.new(Schedule("report", **options), now)

    return make


def assets() -> Catalog:
    """Assets without partitions, with days, and with regions; none of them ever runs here."""
    return Catalog(
        [
            Asset(lambda context: 1, name="report"),
            Asset(lambda context: 1, name="days", partitions=Daily(start="2025-01-01", timezone="America/New_York")),
            Asset(lambda context: 1, name="regions", partitions=Static(["eu", "us"])),
        ]
    )


class World:
    """A store, a clock, the calls of schedules, and the scheduler once `begin` has started it."""

    def __init__(self, url: str, backend: str, stall: float = 0.5) -> None:
        self.url = url
        self.clock = ManualClock(START, stall=stall)
        self.system = System(backend=backend, clock=self.clock)
        self.database = Database.open(url, work=self.system.work)
        self.polls = ThreadExecutor("polls", clock=self.clock, work=self.system.work, threads=None)
        self.services = Services(
            database=self.database,
            catalog=assets(),
            clock=self.clock,
            executor=self.polls,
            polls=self.polls,
            pubsub=self.system.pubsub,
            future=self.system.future,
            io={"memory": MemoryIO()},
            default_io="memory",
            membership=Membership("boot"),
        )
        self.rules = Rules()
        self.schedules = Schedules(self.services, self.rules)
        self.root: Any = None

    def begin(self, *definitions: Schedule) -> None:
        """Register what the code defines, and start the scheduler under a supervisor."""
        self.define(*definitions)
        scheduler = ChildSpec(Scheduler, id="scheduler", args=(self.services, self.rules))
        self.root = self.system.start(Supervisor, children=[scheduler], max_restarts=100)
        self.settle()

    def define(self, *definitions: Schedule) -> None:
        """Register what the code defines."""
        for definition in definitions:
            self.rules.learn(definition.name, definition.partition)
        self.database.transact(lambda connection: register(connection, definitions, self.clock.now()))

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        assert self.system.work.wait_idle(10)

    def advance(self, duration: Any) -> None:
        """Let time go on, and wait until nothing is in flight."""
        self.clock.advance(seconds(duration))
        self.settle()

    def execute(self, sql: str, **parameters: object) -> list[Any]:
        """What a statement gives, committed."""
        return self.database.transact(lambda connection: connection.execute(sql, **parameters))

    def ticks(self, name: str = "report") -> list[Tick]:
        """The ticks of a schedule, oldest first."""
        return [*reversed(self.schedules.history(name, limit=10_000))]

    def told(self, name: str = "report") -> list[tuple[Any, ...]]:
        """Those ticks as (status, reason, first minute, count)."""
        return [(t.status.value, t.reason, t.scheduled_for.strftime("%H:%M"), t.count) for t in self.ticks(name)]

    def runs(self) -> list[Any]:
        """The rows of runs, oldest first."""
        return self.execute("select * from run order by id")

    def finish(self) -> None:
        """Let every run be a success."""
        self.execute("update run set status = 'success'")

    def audited(self) -> list[str]:
        """The audited event types, oldest first."""
        return [each.event_type for each in self.execute("select event_type from audit order by id")]

    def end(self) -> None:
        """Take everything down."""
        self.system.stop()
        self.polls.stop(0)
        self.database.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of an empty store, of each kind."""
    return make_store_url(request.param)


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """A maker of worlds, which all end with the test."""
    made: list[World] = []

    def make(url: str, backend: str = "threads", **options: Any) -> World:
        made.append(World(url, backend, **options))
        return made[-1]

    yield make
    for world in made:
        world.end()


@pytest.fixture
def store_world(make_world: Callable[..., World]) -> World:
    """A world in memory, for what needs no actor."""
    return make_world("memory://")


@pytest.fixture(params=["greenlets", "threads"])
def world(request: pytest.FixtureRequest, make_world: Callable[..., World], url: str) -> World:
    """A world on each backend and each kind of store."""
    return make_world(url, request.param)
