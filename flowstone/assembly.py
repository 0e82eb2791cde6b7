"""What a runtime and a client are put together from: checked settings, the catalog, and what the rooms share."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from actors import Clock, Future, System, WorkCount
from actors.pubsub import PubSub
from flowstone.connectors.handlers import Handlers
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.errors import ValidationError, shown
from flowstone.executors.processes import ProcessExecutor
from flowstone.executors.threads import ThreadExecutor
from flowstone.io import FilesIO, IOManager, MemoryIO
from flowstone.pipeline import Pipeline, check_together
from flowstone.resources.book import ResourceBook
from flowstone.resources.care import take_down
from flowstone.runs.limits import Limits
from flowstone.runs.services import Services, fresh_id
from flowstone.schedules.rules import Rules
from flowstone.schedules.store import register
from flowstone.sensors.book import SensorBook
from flowstone.sensors.definitions import define_all
from flowstone.state.assignment import SCHEDULER, deliveries_of, polls_of
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.membership import Membership
from flowstone.state.url import Kind, place_of
from flowstone.telemetry import Telemetry

__all__ = [
    "Definitions",
    "Parts",
    "Settings",
    "checked_catalog",
    "io_managers_of",
    "offers_of",
    "register_all",
    "services_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a runtime is made of: its store, its executors, where ids come from that nobody had before, and how often it
    looks whether the wall clock was set, in seconds.

    A simulation has others, whose order and ids it draws from its seed.
    """

    database: Callable[..., Database] = Database.open
    executor: Callable[..., ThreadExecutor] = ThreadExecutor
    processes: Callable[..., ProcessExecutor] | None = ProcessExecutor
    fresh_id: Callable[[], str] = fresh_id
    longest_timer: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a runtime was told, checked."""

    url: str
    pipelines: tuple[Pipeline, ...]
    io: Mapping[str, IOManager]
    default_io: str
    identity: Identity
    max_concurrency: int
    max_queue: int
    scheduler: bool
    sensors: bool
    backend: str
    clock: Clock | None
    system: System | None
    pools: Mapping[str, int] = field(default_factory=dict)
    retention: float = math.inf
    parts: Parts = Parts()
    telemetry: Telemetry = field(default_factory=Telemetry)
    handlers: Handlers = field(default_factory=Handlers)
    resources: ResourceBook | None = None


@dataclass(frozen=True, slots=True)
class Definitions:
    """What only the code holds: rules of schedules, sensors, and handlers of events, which are no rows."""

    rules: Rules
    sensors: SensorBook
    handlers: Handlers

    @classmethod
    def of(cls, pipelines: Iterable[Pipeline], handlers: Handlers) -> Self:
        """What these pipelines hold, and who handles events."""
        together = list(pipelines)
        rules = Rules(schedule for pipeline in together for schedule in pipeline.schedules)
        return cls(rules, SensorBook(spec for pipeline in together for spec in pipeline.sensors), handlers)


def offers_of(settings: Settings, book: SensorBook) -> frozenset[str]:
    """What a runtime could do for the store as a whole: each of these is done by one node at a time."""
    specs = book.specs()
    ticks = {SCHEDULER} if settings.scheduler else set()
    polls = {polls_of(spec.name) for spec in specs if settings.sensors}
    return frozenset(ticks | polls | {deliveries_of(spec.name) for spec in specs if spec.on_trigger is not None})


def register_all(settings: Settings, services: Services, *, beside: bool = False) -> None:
    """Write the definitions of the code into the store; what is not among them any more is orphaned.

    One that comes `beside` a runtime leaves the definitions alone, since they are the runtime's.
    """
    schedules = [schedule for pipeline in settings.pipelines for schedule in pipeline.schedules]
    sensors = [spec for pipeline in settings.pipelines for spec in pipeline.sensors]
    now = services.clock.now()

    def write(connection: Connection) -> None:
        if beside and not connection.alone():
            return
        connection.exclude()
        register(connection, schedules, now)
        define_all(connection, sensors, actor="code", now=now)

    services.database.transact(write)


def io_managers_of(
    url: str, given: Mapping[str, IOManager], default: str | None, *, stores_values: bool = True
) -> tuple[dict[str, IOManager], str]:
    """The IO managers by name, and the name of the default one: `files` beside a store in a file, else `memory`.

    Raises:
        ValidationError: the default is none of them, one of them is no IO manager, or values are to be stored beside
            PostgreSQL without a word about where.
        ConfigError: the URL is wrong.
    """
    place = place_of(url)
    path = place.path
    if default is None and stores_values and place.kind is Kind.POSTGRESQL:
        expected = "expected io_manager for a store on PostgreSQL, which keeps no values, got: None"
        raise ValidationError(f"{expected}; give one of io_managers, or 'memory' for values that may be forgotten")
    files: dict[str, IOManager] = {} if path is None else {"files": FilesIO(Path(f"{path}.values"))}
    for name, manager in given.items():
        if not isinstance(manager, IOManager):
            raise ValidationError(f"expected io_managers[{name!r}] to be an IO manager, got: {shown(manager)}")
    managers: dict[str, IOManager] = {"memory": MemoryIO(), **files, **given}
    chosen = default or ("memory" if path is None else "files")
    if chosen not in managers:
        known = ", ".join(sorted(managers))
        raise ValidationError(f"expected io_manager to be one of {known}, got: {shown(default)}")
    return managers, chosen


def services_of(
    settings: Settings,
    catalog: Catalog,
    database: Database,
    parts: ExitStack,
    *,
    clock: Clock,
    work: WorkCount,
    pubsub: PubSub,
) -> Services:
    """What the rooms share; `parts` takes the executors down again."""
    workers: dict[str, Any] = {"clock": clock, "work": work}
    executor = settings.parts.executor("assets", threads=settings.max_concurrency, **workers)
    polls = settings.parts.executor("polls", threads=None, **workers)
    fresh = settings.parts.fresh_id
    membership = Membership(fresh(), name=socket.gethostname(), shared=database.shared, fresh_id=fresh)
    parts.callback(executor.stop, 0.0)
    parts.callback(polls.stop, 0.0)
    resources = settings.resources if settings.resources is not None else ResourceBook()
    resources.open()
    parts.callback(take_down, resources, polls)
    processes = None if settings.parts.processes is None else settings.parts.processes("processes", work=work)
    if processes is not None:
        parts.callback(processes.stop)
    return Services(
        database=database,
        catalog=catalog,
        clock=clock,
        executor=executor,
        polls=polls,
        processes=processes,
        resources=resources,
        pubsub=pubsub,
        future=Future,
        io=settings.io,
        default_io=settings.default_io,
        membership=membership,
        fresh_id=settings.parts.fresh_id,
        identity=settings.identity,
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
        limits=Limits.of(catalog, settings.pools),
        telemetry=settings.telemetry,
        longest_timer=settings.parts.longest_timer,
    )


def checked_catalog(settings: Settings) -> Catalog:
    """The assets of all pipelines, when the definitions fit together and name IO managers that there are.

    Raises:
        ValidationError: they do not.
    """
    names = None if settings.resources is None else settings.resources.names
    catalog = check_together(settings.pipelines, resources=names)
    _check_managers(catalog, settings.io)
    Limits.of(catalog, settings.pools)
    return catalog


def _check_managers(catalog: Catalog, managers: Mapping[str, IOManager]) -> None:
    known = ", ".join(sorted(managers))
    for asset in catalog.assets.values():
        if asset.io_manager is not None and asset.io_manager not in managers:
            expected = f"expected io_manager of asset {asset.name!r} to be one of {known}"
            raise ValidationError(f"{asset.location}: {expected}, got: {asset.io_manager!r}")
