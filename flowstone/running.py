"""A runtime that runs: what `start` made, in order, and what `stop` takes down again.

Check the definitions, take the store, put back what an earlier boot left running, register the definitions, start the
executors, start the tree. Whatever fails on the way takes down what was there. Stop is the same backwards, after the
runs in progress had until the deadline to finish.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from actors import ActorDeadError, ActorRef, AskTimeout, Clock, Row, System
from actors.events import ActorRestarted, Event
from flowstone.audit.store import record
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.ending import Ending
from flowstone.errors import StoreUnavailable, ValidationError, shown
from flowstone.executors.threads import ThreadExecutor
from flowstone.io import FilesIO, IOManager, MemoryIO
from flowstone.pipeline import Pipeline, check_together
from flowstone.runs.messages import Quiesce
from flowstone.runs.recovery import put_back, recover, running_of
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.schedules.calls import Schedules
from flowstone.schedules.rules import Rules
from flowstone.schedules.store import register
from flowstone.sensors.book import SensorBook
from flowstone.sensors.calls import Sensors
from flowstone.sensors.definitions import define_all
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.url import place_of
from flowstone.tree import Definitions, root_spec

__all__ = ["Running", "Settings", "io_managers_of", "start"]

log = logging.getLogger(__name__)

_DUE = """
    select run_id from run where status = 'running' or (status = 'queued' and ready_at <= :now) order by id limit 1
"""


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


class Running:
    """The parts of a started runtime.

    `ending` is told when the root is gone; `down` is why it is gone.
    """

    def __init__(
        self, system: System, services: Services, definitions: Definitions, root: ActorRef, parts: ExitStack
    ) -> None:
        self.system = system
        self.services = services
        self.schedules = Schedules(services, definitions.rules)
        self.sensors = Sensors(services, definitions.sensors)
        self.root = root
        self.ending = Ending()
        self.down: object | None = None
        self._stopping = False
        self._parts = parts
        self._watch = system.watch(root, lambda down: self._gone(down.reason))
        self._events = system.events.subscribe(self._record)

    def tree(self) -> Row:
        """The actors as they are now."""
        return next(row for row in self.system.tree() if row.path == self.root.path)

    def drain(self, limit: float | None) -> bool:
        """Wait until nothing is due, queued or running, for up to `limit` real seconds; whether it came to that."""
        deadline = None if limit is None else time.monotonic() + limit
        while True:
            if not self.system.work.wait_idle(_left(deadline)):
                return False
            run_id = self._due()
            if run_id is None:
                return True
            if not self._wait_for(run_id, deadline):
                return False

    def stop(self, timeout: float) -> None:
        """Let what runs finish for `timeout` real seconds, put the rest back, and take everything down."""
        deadline = time.monotonic() + timeout
        self._stopping = True
        self._events.cancel()
        try:
            self.services.directory["dispatcher"].ask(Quiesce(), timeout=timeout)
        except (ActorDeadError, AskTimeout) as error:
            log.warning("runs in progress are put back: %s", error)
        self.system.unwatch(self._watch)
        try:
            self.root.stop(timeout=max(1.0, deadline - time.monotonic()))
        except (ActorDeadError, AskTimeout) as error:
            log.warning("the tree did not stop: %s", error)
        try:
            for run_id in self.services.database.transact(self._put_back):
                self.services.waiters.tell(RunLeft(run_id))
        except StoreUnavailable as error:
            log.warning("runs in progress are put back at the next start: %s", error)
        self._parts.close()

    def _put_back(self, connection: Connection) -> tuple[str, ...]:
        services, now = self.services, self.services.clock.now()
        left = running_of(connection, services.boot)
        for run_id in left:
            put_back(connection, run_id, now=now, reason="the runtime was stopped", boot=services.boot)
        return left

    def _due(self) -> str | None:
        """The id of a run that is running, or queued and due."""
        now = self.services.clock.now()
        rows = self.services.database.read(lambda connection: connection.execute(_DUE, now=now))
        return rows[0].run_id if rows else None

    def _wait_for(self, run_id: str, deadline: float | None) -> bool:
        """Wait until a run has finished; it may be over already, or be put off while we wait for it."""
        services = self.services
        future = services.future()
        services.waiters.add(run_id, future)
        try:
            if self._due() == run_id:
                services.wake()
                future.get(timeout=_left(deadline))
            return True
        except AskTimeout:
            return False
        finally:
            services.waiters.remove(run_id, future)

    def _gone(self, reason: object) -> None:
        if not self._stopping:
            self.down = reason
            self.ending.announce()

    def _record(self, event: Event) -> None:
        """Write down what was restarted, and why: an actor of ours that crashes leaves a trace."""
        if isinstance(event, ActorRestarted) and event.path.startswith(f"{self.root.path}/"):
            self.services.database.write(
                lambda connection: _record_restart(connection, event, self.services.clock.now()),
                then=lambda outcome: None,
            )


def start(settings: Settings) -> Running:
    """Start a runtime, on the host's system or on one of its own.

    Raises:
        ValidationError: the definitions do not fit together.
        StoreLocked, StoreUnavailable: the store is held by another runtime, or can't be used.
    """
    catalog = check_together(settings.pipelines)
    _check_managers(catalog, settings.io)
    with ExitStack() as parts:
        system = settings.system
        if system is None:
            system = System(backend=settings.backend, clock=settings.clock)
            parts.callback(system.stop)
        database = Database.open(settings.url, work=system.work)
        parts.callback(database.close)
        services = _services(settings, catalog, system, database, parts)
        database.transact(lambda connection: recover(connection, boot=services.boot, now=services.clock.now()))
        definitions = _registered(settings, services)
        spec = root_spec(services, definitions, scheduler=settings.scheduler, sensors=settings.sensors)
        return Running(system, services, definitions, system.spawn(spec), parts.pop_all())


def _registered(settings: Settings, services: Services) -> Definitions:
    """Write the definitions of the code into the store, and keep what of them only code can hold."""
    schedules = [schedule for pipeline in settings.pipelines for schedule in pipeline.schedules]
    sensors = [spec for pipeline in settings.pipelines for spec in pipeline.sensors]
    now = services.clock.now()

    def register_all(connection: Connection) -> None:
        register(connection, schedules, now)
        define_all(connection, sensors, actor="code", now=now)

    services.database.transact(register_all)
    return Definitions(Rules(schedules), SensorBook(sensors))


def io_managers_of(
    url: str, given: Mapping[str, IOManager], default: str | None
) -> tuple[dict[str, IOManager], str]:
    """The IO managers by name, and the name of the default one: `files` beside a store in a file, else `memory`.

    Raises:
        ValidationError: the default is none of them, or one of them is no IO manager.
        ConfigError: the URL is wrong.
    """
    path = place_of(url).path
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


def _services(
    settings: Settings, catalog: Catalog, system: System, database: Database, parts: ExitStack
) -> Services:
    workers: dict[str, Any] = {"clock": system.clock, "work": system.work}
    executor = ThreadExecutor("assets", threads=settings.max_concurrency, **workers)
    polls = ThreadExecutor("polls", threads=None, **workers)
    parts.callback(executor.stop, 0.0)
    parts.callback(polls.stop, 0.0)
    return Services(
        database=database,
        catalog=catalog,
        clock=system.clock,
        executor=executor,
        polls=polls,
        pubsub=system.pubsub,
        future=system.future,
        io=settings.io,
        default_io=settings.default_io,
        boot=uuid.uuid4().hex,
        identity=settings.identity,
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
    )


def _check_managers(catalog: Catalog, managers: Mapping[str, IOManager]) -> None:
    known = ", ".join(sorted(managers))
    for asset in catalog.assets.values():
        if asset.io_manager is not None and asset.io_manager not in managers:
            expected = f"expected io_manager of asset {asset.name!r} to be one of {known}"
            raise ValidationError(f"{asset.location}: {expected}, got: {asset.io_manager!r}")


def _record_restart(connection: Connection, event: ActorRestarted, now: datetime) -> None:
    details = {"reason": repr(event.reason), "restarts": event.count}
    record(connection, "actor.restarted", actor="supervisor", resource=f"actor:{event.path}", details=details, at=now)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
